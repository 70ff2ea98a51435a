"""Outputs appear whole or not at all, and those that are impossible are named before any work."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from written import written

from ddpm.files import atomic_path, check_output


def test_atomic_path_replaces_only_when_all_went_well(tmp_path: Path) -> None:
    path = written(tmp_path / "x.txt", "old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        written(temporary, "new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_after_a_failure(tmp_path: Path, failure: type[BaseException]) -> None:
    path = written(tmp_path / "x.txt", "old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            written(temporary, "ne")
            raise failure

    with pytest.raises(failure):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_path_gives_the_permissions_of_an_ordinary_new_file(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x.txt") as temporary:
        written(temporary, "new")
    ordinary = written(tmp_path / "ordinary.txt", "")
    assert (tmp_path / "x.txt").stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize(
    "check", [lambda path: check_output(path, force=True), lambda path: atomic_path(path).__enter__()]
)
def test_impossible_outputs_are_named(tmp_path: Path, check: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        check(tmp_path / "nowhere" / "x.npy")
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        check(tmp_path)


def test_a_long_name_is_named_before_any_work(tmp_path: Path) -> None:
    written(tmp_path / ("a" * 240 + ".txt"), "")
    with atomic_path(tmp_path / ("a" * 240 + ".txt")) as temporary:
        written(temporary, "new")
    assert (tmp_path / ("a" * 240 + ".txt")).read_text() == "new"
    with pytest.raises(OSError, match=r"aaa\.\.\.: the name has 264 bytes, and the folder allows 255"):
        check_output(tmp_path / ("a" * 260 + ".txt"))


@pytest.mark.skipif(os.name != "posix", reason="needs the modes and links of Unix")
def test_a_link_is_followed_and_the_mode_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file, link, dangling = tmp_path / "folder" / "x.txt", tmp_path / "link.txt", tmp_path / "dangling.txt"
    written(file, "old").chmod(0o600)
    link.symlink_to(file)
    dangling.symlink_to(tmp_path / "folder" / "y.txt")
    for path in (link, dangling):
        with pytest.raises(FileExistsError, match="exists already"):
            check_output(path)
        with atomic_path(path) as temporary:
            written(temporary, "new")
        assert path.is_symlink()
        assert path.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    link.unlink()
    link.symlink_to(tmp_path / "nowhere" / "x.txt")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        check_output(link, force=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="no permission to write"):
        check_output(tmp_path / "x.npy")


def test_existing_output_needs_force(tmp_path: Path) -> None:
    path = written(tmp_path / "x.npy", "")
    with pytest.raises(FileExistsError, match="exists already"):
        check_output(path)
    check_output(path, force=True)

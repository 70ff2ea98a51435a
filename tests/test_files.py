"""Points in and out of files: what is read, what is refused and in which words, what a failure leaves."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpm.files import atomic_path, check_output, read_points, write_points


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, ">f8"])
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (5, 3)])
def test_npy_is_read_as_float32_rows(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    stored = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "x.npy", stored)
    points = read_points(tmp_path / "x.npy")
    assert points.dtype == np.float32
    assert points.shape == (shape[0], 1 if len(shape) == 1 else shape[1])
    assert np.array_equal(points.ravel(), stored.ravel())


def test_npy_in_fortran_order_keeps_its_rows(tmp_path: Path) -> None:
    stored = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "x.npy", np.asfortranarray(stored))
    assert np.array_equal(read_points(tmp_path / "x.npy"), stored)


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n",
        "1,2\r\n3,4",
        "x,y\n1,2\n3,4\n",
        "\ufeffx,y\n1,2\n3,4\n",  # as spreadsheets save it
        '"x, first",y\n 1 ,2\n\n3e0,"4"\n\n',
    ],
)
def test_csv_is_read_with_and_without_names(tmp_path: Path, text: str) -> None:
    points = read_points(written(tmp_path / "x.csv", text))
    assert points.dtype == np.float32
    assert np.array_equal(points, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no points"),
        ("\n\n", "holds no points"),
        ("x,y\n", "holds no points"),
        ("x,y\n1,2\n3,cat\n", "line 3, field 2: 'cat' is not a number"),
        ("x,1\n1,2\n", "line 1, field 1: 'x' is not a number"),
        ("x,y\nu,v\n1,2\n", "line 2, field 1: 'u' is not a number"),
        ("1;2\n3;4\n", "line 2, field 1: '3;4' is not a number"),
        ("1,2\n3\n", "line 2: 1 fields, but the first row has 2"),
        ("x,y\n1,2,3\n", "line 2: 3 fields, but the first row has 2"),
        ("1,2\n\n3,\n", "line 3, field 2: is empty"),
        ("1,nan\n", "line 1, field 2: 'nan' is not a finite float32 number"),
        ("1\n-inf\n", "line 2, field 1: '-inf' is not a finite float32 number"),
        ("1\n1e39\n", "line 2, field 1: '1e39' is not a finite float32 number"),
    ],
)
def test_csv_errors_name_file_line_and_culprit(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path / "x.csv", text)
    with pytest.raises(ValueError, match=r"x\.csv") as raised:
        read_points(path)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).endswith(said)


def test_csv_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"1,2\n\xff\xfe,3\n")
    with pytest.raises(ValueError, match=r"x\.csv: not a text file in UTF-8"):
        read_points(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.array(1.0), r"has shape \[\], expected \[N\] or \[N, D\]"),
        (np.zeros((2, 3, 4)), r"has shape \[2, 3, 4\], expected"),
        (np.zeros(0), "holds no points"),
        (np.zeros((3, 0)), "holds no points"),
        (np.array(["a", "b"]), "holds <U1, not floating-point numbers or integers"),
        (np.array([True, False]), "holds bool"),
        (np.array([1j]), "holds complex128"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), r"row 1, column 1 \(from 0\): nan is not a finite float32"),
        (np.array([1.0, 1e39]), r"row 1, column 0 \(from 0\): 1e\+39 is not a finite float32"),
    ],
)
def test_npy_errors_name_file_and_culprit(tmp_path: Path, stored: np.ndarray, said: str) -> None:
    np.save(tmp_path / "x.npy", stored)
    with pytest.raises(ValueError, match=r"x\.npy: " + said):
        read_points(tmp_path / "x.npy")


def test_npy_with_a_pickle_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy: not a readable \.npy file of numbers"):
        read_points(tmp_path / "x.npy")


@pytest.mark.parametrize("kept", [0, 5, 40, 200])  # nothing, half of the magic, half of the header, half of the data
def test_truncated_npy_is_refused(tmp_path: Path, kept: int) -> None:
    np.save(tmp_path / "x.npy", np.zeros(100))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=r"x\.npy: not a readable \.npy file of numbers"):
        read_points(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.txt", "x", "x.npz"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"in \.npy or \.csv files"):
        read_points(tmp_path / name)
    with pytest.raises(ValueError, match=r"in \.npy or \.csv files"):
        write_points(tmp_path / name, np.zeros((1, 1), np.float32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.npy", "x.csv"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_points(tmp_path / name)


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "X.NPY", "X.CSV"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (1000, 1), (100, 7)])
def test_points_come_back_bit_for_bit(tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    points = (generator.standard_normal(shape) * 10.0 ** generator.integers(-30, 30, shape)).astype(np.float32)
    write_points(tmp_path / name, points)
    assert np.array_equal(read_points(tmp_path / name), points)
    assert [path.name for path in tmp_path.iterdir()] == [name]


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

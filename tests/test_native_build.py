# mypy: disable-error-code="attr-defined,misc"
"""How the C++ of `native` is built and cached: compilers that fail, processes that start at once, sanitizers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.native import compilation
from kernels.native import library as libraries
from kernels.native.compilation import BuildError, Compilation
from kernels.native.library import Library

TESTS = Path(__file__).parent


# Here the source is a single function, which compiles in 50 ms instead of 1.5 s.


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a small source and an empty cache, in a folder with a space in its name; return the folder of the cache."""
    monkeypatch.setattr(compilation, "source", lambda: 'extern "C" int answer() { return 42; }\n')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a folder"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "a folder" / "fused-ddpm"


def answer(library: Library) -> int:
    return library.load().answer()


def never(*_: object) -> Compilation:
    raise AssertionError("compiled again")


def script(path: Path, text: str) -> str:
    """Write a shell script that serves as a compiler, and return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_is_built_once_and_kept(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Library()
    first.begin()
    assert first.started is not None
    assert answer(first) == 42
    assert len(list(small.iterdir())) == 1
    monkeypatch.setattr(Compilation, "start", never)
    assert answer(Library()) == 42


def test_a_damaged_library_is_built_again(small: Path) -> None:
    answer(Library())
    (kept,) = small.iterdir()
    whole = kept.read_bytes()
    kept.unlink()  # this process still maps it
    kept.write_bytes(whole[: len(whole) // 2])
    assert answer(Library()) == 42
    assert [path.read_bytes() for path in small.iterdir()] == [whole]


def test_another_file_in_its_place_is_passed_over(small: Path) -> None:
    answer(Library())
    (kept,) = small.iterdir()
    kept.rename(kept.with_name(f"{kept.stem[:-4]}0000.so"))
    kept.with_name(f"{kept.stem[:-4]}1111.so").mkdir()
    assert answer(Library()) == 42


def test_each_processor_compiler_and_source_has_its_own(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(Library())
    monkeypatch.setattr(libraries, "processor", lambda: "another")
    answer(Library())
    monkeypatch.setenv("CXX", script(small.parent / "c++", 'exec g++ "$@"'))
    answer(Library())
    monkeypatch.setattr(compilation, "source", lambda: 'extern "C" int answer() { return 43; }\n')
    assert answer(Library()) == 43
    assert len(list(small.iterdir())) == 4


def test_an_unknown_processor_gets_portable_code(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = (
        'case "$*" in *-march=native*) echo "error: bad value native for -march" >&2; exit 1;; esac; exec g++ "$@"'
    )
    small.mkdir(parents=True)
    monkeypatch.setenv("CXX", script(small.parent / "old", refuses))
    assert answer(Library()) == 42


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 3", "exit code 3 (no output)"),
        (
            "echo 'x.cpp:1: error: no such thing' >&2; echo more >&2; exit 1",
            "exit code 1 (x.cpp:1: error: no such thing)",
        ),
        ("cat > /dev/null", "exit code 0 (no output)"),  # it wrote no library
    ],
)
def test_a_compiler_that_fails(small: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    small.mkdir(parents=True)
    monkeypatch.setenv("CXX", script(small.parent / "broken", text))
    failing = Library()
    failing.begin()  # raises nothing yet
    for _ in range(2):
        with pytest.raises(BuildError) as error:
            failing.load()
        assert said in str(error.value)
        assert "\n" not in str(error.value)
    assert list(small.iterdir()) == []


def test_a_compiler_that_is_no_command(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", 'g++ "foo')
    with pytest.raises(BuildError, match=r"which is not a command \(No closing quotation\)"):
        Library().load()


def test_no_compiler_at_all(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(small))
    with pytest.raises(BuildError, match=r"neither g\+\+ nor clang\+\+ is on PATH: install one, or set CXX"):
        Library().load()


def test_a_folder_that_cannot_be_written(small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(libraries, "_temporary_folder", libraries._temporary_folder.__wrapped__)
    with pytest.warns(RuntimeWarning, match="cannot be kept and are built in each process: .*file"):
        assert answer(Library()) == 42


def test_a_full_disk(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.mkdir(parents=True)
    full = f'case "$*" in *"{small}"*) echo "error: No space left on device" >&2; exit 1;; esac; exec g++ "$@"'
    monkeypatch.setenv("CXX", script(small.parent / "full", full))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    monkeypatch.setattr(libraries, "_temporary_folder", libraries._temporary_folder.__wrapped__)
    with pytest.warns(RuntimeWarning, match="cannot be kept .*: the disk of .* is full"):
        assert answer(Library()) == 42
    assert list(small.iterdir()) == []


def in_processes(code: str, number: int, **environment: str) -> None:
    """Run `code` in processes that start at the same time."""
    where = os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))} | environment
    started = [subprocess.Popen([sys.executable, "-c", code], env=where, stderr=subprocess.PIPE) for _ in range(number)]
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()


def test_two_processes_at_once(tmp_path: Path) -> None:
    code = "import ddpm; assert ddpm.backends()['native'] == 'available'"
    in_processes(code, 2, XDG_CACHE_HOME=str(tmp_path))
    assert [path.suffix for path in (tmp_path / "fused-ddpm").iterdir()] == [".so"]


def test_an_import_ends_before_the_compiler_does(tmp_path: Path) -> None:
    in_processes("import kernels.native.library as l; l.library.begin()", 1, XDG_CACHE_HOME=str(tmp_path))
    # at its exit the process waits for the compiler
    assert [path.suffix for path in (tmp_path / "fused-ddpm").iterdir()] == [".so"]


def sanitizer(compiler: str = "g++") -> str | None:
    """Return the library that a program must load first to run under the address sanitizer, or None."""
    if shutil.which(compiler) is None:
        return None
    found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return found.stdout.strip() if os.path.isabs(found.stdout.strip()) else None


SANITIZED = """
import ctypes, sys
from pathlib import Path
from kernels.native import compilation, library
compilation.FLAGS += ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1")
import test_native
library.library.loaded = test_native.built("g++", Path(sys.argv[1]), "-march=native")
test_native.digests()
"""


@pytest.mark.skipif(sanitizer() is None, reason="g++ has no address sanitizer here")
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    preload = sanitizer()
    assert preload is not None
    quiet = {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"}  # Python itself leaks
    in_processes(SANITIZED.replace("sys.argv[1]", repr(str(tmp_path))), 1, **quiet)

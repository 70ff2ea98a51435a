"""The library of the C++ kernels: built at the first use on a machine, kept, and loaded. Imports no torch."""

import atexit
import contextlib
import ctypes
import functools
import hashlib
import itertools
import os
import platform
import shutil
import tempfile
import threading
import warnings
from pathlib import Path

from kernels.native import compilation
from kernels.native.compilation import BuildError, Compilation, choices, compiler, digest_of


@functools.cache
def processor() -> str:
    """Return a description of the processor: machines may share a folder, but not the code of -march=native."""
    try:
        with open("/proc/cpuinfo") as file:  # only the first processor: a hundred take long
            lines = itertools.takewhile(str.strip, file)
            return "".join(line for line in lines if line.split(":")[0].strip() in ("model name", "flags", "Features"))
    except OSError:
        return f"{platform.machine()} {platform.processor()}"


def key(command: list[str]) -> str:
    """Return the digest of everything that the library depends on."""
    found = Path(shutil.which(command[0]) or command[0]).resolve()
    about = found.stat()
    digest = hashlib.sha256(
        repr((compilation.FLAGS, choices(command), command, str(found), about.st_size, about.st_mtime_ns)).encode()
    )
    digest.update(f"{platform.system()} {platform.machine()} {processor()}{compilation.source()}".encode())
    for path in (*compilation.HEADERS, *compilation.SOURCES):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def folder() -> Path:
    """Return the folder of the libraries, created if it is missing, or a temporary one if it cannot be written."""
    try:
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fused-ddpm"
        kept.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=kept).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        return _temporary_folder(str(error))
    return kept


@functools.cache
def _temporary_folder(why: str) -> Path:
    path = tempfile.mkdtemp(prefix="fused-ddpm-")
    maker = os.getpid()
    atexit.register(lambda: shutil.rmtree(path, ignore_errors=True) if os.getpid() == maker else None)
    warnings.warn(
        f"the native kernels cannot be kept and are built in each process: {why}", RuntimeWarning, stacklevel=2
    )
    return Path(path)


def kept(where: Path, name: str) -> Path | None:
    """Return the library with this key, or None. Its name contains its digest, so that damaged ones are deleted."""
    for path in where.glob(f"{name}-*.so"):
        with contextlib.suppress(OSError):  # another process may have deleted it
            if path.name == f"{name}-{digest_of(path)}.so":
                return path
            path.unlink()
    return None


class Library:
    """The library, built and loaded when it is first needed. Works in several threads, and in a child after a fork."""

    def __init__(self) -> None:
        self.after_fork()
        self.loaded: ctypes.CDLL | None = None
        self.problem: str | None = None

    def after_fork(self) -> None:
        """Forget the compiler that the parent has started, and the parent's lock: a child has neither."""
        self.lock = threading.RLock()
        self.started: Compilation | None = None

    def begin(self) -> None:
        """Start the compiler if the library must be built, and return at once."""
        with self.lock:
            if self.loaded is None and self.problem is None and self.started is None:
                with contextlib.suppress(BuildError, OSError):  # reported at the first use
                    command, where = compiler(), folder()
                    name = key(command)
                    if kept(where, name) is None:
                        self.started = Compilation.start(command, where, name, choices(command)[0])

    def load(self) -> ctypes.CDLL:
        """Return the library.

        Raises:
            BuildError: it cannot be built.
        """
        with self.lock:
            if self.loaded is None:
                if self.problem is None:
                    try:
                        self.loaded = ctypes.CDLL(str(self._path()))
                    except (BuildError, OSError) as error:
                        self.problem = str(error)
                if self.problem is not None:
                    raise BuildError(self.problem)
            assert self.loaded is not None
            return self.loaded

    def _path(self) -> Path:
        self.finish()
        command, where = compiler(), folder()
        name = key(command)
        if found := kept(where, name):
            return found
        for choice in choices(command)[:-1]:
            with contextlib.suppress(BuildError):
                return Compilation.start(command, where, name, choice).finish()
        if shutil.disk_usage(where).free < 2**24:
            where = _temporary_folder(f"the disk of {where} is full")
        return Compilation.start(command, where, name, ()).finish()

    def finish(self) -> None:
        """Wait for the compiler if it has been started. The library that it builds is kept."""
        with self.lock:
            if self.started is not None:
                with contextlib.suppress(BuildError, OSError):  # tried again, and reported, at the first use
                    self.started.finish()
                self.started = None


library = Library()
atexit.register(library.finish)
os.register_at_fork(after_in_child=library.after_fork)


def problem() -> str | None:
    """Return why the library cannot be used here, or None if it can."""
    try:
        library.load()
    except BuildError as error:
        return str(error)
    return None

"""Compiles the C++ of all ops into one library. Imports no torch.

The results are the same bits whatever the flags, the compiler and the processor (see lanes.h), with two exceptions.
Without -ffp-contract=off a compiler may round a product and a sum as one. Without -fwrapv the overflow of signed words,
which the noise needs, would be undefined.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kernels import constants

KERNELS = Path(__file__).parents[1]
SOURCES = sorted(KERNELS.glob("*/native*.cpp"))
HEADERS = sorted((*KERNELS.glob("native/*.h"), *KERNELS.glob("*/native.h")))

FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-fwrapv", "-shared", "-fPIC", "-pthread", "-Wno-psabi")
# The flags to try, one choice after another. GCC orders the long chains of multiply-adds better if it schedules before
# it allocates registers: 0.93 of the time on AVX2. clang does not know these flags. The last choice is for any
# processor.
CHOICES = (("-march=native", "-fschedule-insns", "-fsched-pressure"), ("-march=native",), ())


class BuildError(RuntimeError):
    """Raised when the library cannot be built here. The message says why in one sentence."""


@functools.cache
def source() -> str:
    """Return the translation unit: the constants of kernels/constants.py, then every op."""

    lines = []
    for name, value in vars(constants).items():
        if name.isupper():
            values = value if isinstance(value, tuple) else (value,)
            if isinstance(values[0], float):
                kind, literals = "float", [f"{ctypes.c_float(number).value.hex()}f" for number in values]
            else:
                kind, literals = "int" if max(values) < 2**31 else "unsigned", [f"{number}" for number in values]
            array = "[]" if values is value else ""
            lines.append(f"[[maybe_unused]] static constexpr {kind} {name}{array} = {{{', '.join(literals)}}};")
    lines += [f'#include "{path.relative_to(KERNELS).as_posix()}"' for path in SOURCES]
    return "\n".join(lines) + "\n"


def compiler() -> list[str]:
    """Return the command of the C++ compiler: CXX if it is set, otherwise g++ or clang++.

    Raises:
        BuildError: there is no compiler.
    """
    asked = os.environ.get("CXX")
    if asked and shutil.which(asked):  # a path may have spaces
        return [asked]
    try:
        commands = [shlex.split(asked)] if asked else [["g++"], ["clang++"]]
    except ValueError as error:
        raise BuildError(f"CXX is {asked!r}, which is not a command ({error}): set it to a C++ compiler") from None
    for command in commands:
        if command and shutil.which(command[0]):
            return command
    if asked:
        raise BuildError(f"CXX is {asked!r}, which is not on PATH: install it, or set CXX to a C++ compiler")
    raise BuildError("it needs a C++ compiler, and neither g++ nor clang++ is on PATH: install one, or set CXX")


def choices(command: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return the choices of flags that a compiler may accept."""
    return CHOICES[1:] if "clang" in Path(command[0]).name else CHOICES


def digest_of(path: Path) -> str:
    """Return a digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


@dataclass
class Compilation:
    """A running compiler. It writes a partial file, which becomes the library when it is complete."""

    process: subprocess.Popen
    command: list[str]
    partial: Path
    name: str

    @classmethod
    def start(cls, command: list[str], where: Path, name: str, choice: tuple[str, ...]) -> "Compilation":
        handle, partial = tempfile.mkstemp(dir=where, prefix=f"{name}-", suffix=".partial")
        os.close(handle)
        flags = (*FLAGS, *choice, "-iquote", str(KERNELS), "-x", "c++", "-", "-o", partial)
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen([*command, *flags], stdin=pipe, stdout=nowhere, stderr=pipe)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the compiler has ended already; finish reports why
            process.stdin.write(source().encode())
            process.stdin.close()
        process.stdin = None
        return cls(process, command, Path(partial), name)

    def finish(self) -> Path:
        """Wait for the compiler, and return the path of the library.

        Raises:
            BuildError: the compiler failed.
        """
        try:
            _, said = self.process.communicate()
            if self.process.returncode == 0 and self.partial.stat().st_size > 0:
                whole = self.partial.with_name(f"{self.name}-{digest_of(self.partial)}.so")
                os.replace(self.partial, whole)
                return whole
        finally:
            self.partial.unlink(missing_ok=True)
        lines = said.decode(errors="replace").splitlines()
        first = next((line for line in lines if "error" in line), lines[-1] if lines else "no output")
        raise BuildError(
            f"the C++ compiler {shlex.join(self.command)!r} failed with exit code {self.process.returncode} "
            f"({first.strip()}): install g++ 9 or clang++ 10 or later, or set CXX"
        )

"""Long runs of `ddpm train`: checkpoints, signals, and the other processes that take part."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpm.torchrun import NAMES, use_own_gpu

if TYPE_CHECKING:
    from ddpm import Checkpoints

UNITS = {"s": 1, "m": 60, "h": 3600}  # in seconds


class Period(click.ParamType):
    """A number of updates, or a time as 60s, 10m or 1h."""

    name = "period"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | timedelta:
        """Return an int or a timedelta."""
        found = re.fullmatch(r"(\d{1,9})([smh]?)", str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r} is neither a number of updates, as 1000, nor a time, as 60s, 10m or 1h", param, ctx)
        number = int(found[1])
        return timedelta(seconds=number * UNITS[found[2]]) if found[2] else number


def checkpoints_for(out: Path, every: int | timedelta | None, resume: bool, force: bool) -> "Checkpoints | None":
    """Return where the checkpoints of a model file are, if there are to be any: beside it."""
    if every is None and not resume:
        return None
    import ddpm

    path = checkpoint_of(out)
    if path.exists() and not resume:
        if not force:
            raise FileExistsError(f"{path}: exists already: --resume goes on from it, --force begins anew")
        path.unlink(missing_ok=True)  # of several processes, the first does it
    return ddpm.Checkpoints(path, every or timedelta(minutes=1), resume)


def checkpoint_of(out: Path) -> Path:
    """Return the name of the checkpoint of a model file."""
    return out.with_name(f"{out.stem}.checkpoint{out.suffix}")


class Interrupted(click.ClickException):
    """A signal has ended the command; `code` is the exit code that a shell gives it."""

    def __init__(self, message: str, number: int | None) -> None:
        super().__init__(message)
        self.code = 128 + (number or signal.SIGINT)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Say how to go on, where a signal ends training that keeps a checkpoint."""
    from ddpm import TrainingInterrupted

    try:
        yield
    except TrainingInterrupted as stopped:
        done = str(stopped).split(":")[0]
        raise Interrupted(f"{done}: the same command with --resume goes on from there", stopped.signal) from stopped


@contextlib.contextmanager
def process_group(device_type: str) -> Iterator[None]:
    """Join the processes that torchrun has started, if it has."""
    if not all(name in os.environ for name in NAMES):
        yield
        return
    import torch.distributed as dist

    use_own_gpu()
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    yield
    dist.destroy_process_group()  # not after an error, when others may be gone

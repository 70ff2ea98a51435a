"""Long runs of `ddpm train`: checkpoints, signals, and several processes."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpm.torchrun import NAMES, rank_and_size, use_own_gpu

if TYPE_CHECKING:
    from ddpm import Checkpoints

UNITS = {"s": 1, "m": 60, "h": 3600}  # in seconds


class Period(click.ParamType):
    """A number of iterations, or a time such as 60s, 10m or 1h."""

    name = "period"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | timedelta:
        """Return an int or a timedelta."""
        found = re.fullmatch(r"(\d{1,9})([smh]?)", str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r} is neither a number of iterations nor a time such as 60s, 10m or 1h", param, ctx)
        number = int(found[1])
        return timedelta(seconds=number * UNITS[found[2]]) if found[2] else number


def checkpoints_for(out: Path, every: int | timedelta | None, resume: bool, force: bool) -> "Checkpoints | None":
    """Return the settings of the checkpoint beside a model file, or None if no checkpoint was asked for."""
    if every is None and not resume:
        return None
    import ddpm
    from ddpm import checkpoint
    from ddpm.files import check_output

    path = checkpoint_of(out)
    check_output(path, force=True)
    if path.exists():
        try:
            is_ours = bool(checkpoint.describe(path)[checkpoint.RUN])
        except ValueError:
            is_ours = False
        if not is_ours:
            raise FileExistsError(f"{path}: exists already, and is not a checkpoint: move it away")
        if not resume and not force:
            raise FileExistsError(f"{path}: exists already: --resume continues from it, --force starts again")
    return ddpm.Checkpoints(path, every or timedelta(minutes=1), resume, force)


def checkpoint_of(out: Path) -> Path:
    """Return the path of the checkpoint that belongs to a model file."""
    return out.with_name(f"{out.stem}.checkpoint{out.suffix}")


class Interrupted(click.ClickException):
    """A signal has stopped the command. `code` is the exit code that shells use for this signal."""

    def __init__(self, message: str, number: int | None) -> None:
        super().__init__(message)
        self.code = 128 + (number or signal.SIGINT)


# arguments of ddpm.train that do not come from an option of the same name, and what decides them
OPTIONS = {
    "x0": "DATA, or other columns or another scaling of it",
    "shape of x0": "DATA, or other columns of it",
    "shape of condition": "--target",
    "network": "network: --hidden and --tutorial decide it",
    "schedule": "schedule: --timesteps and --tutorial decide it",
    "seed": "--seed",
    "shards": "kind of run: by torchrun, or by one process alone",
    "threads": "number of threads: OMP_NUM_THREADS decides it",
}


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Say how to resume if a signal stops training that has a checkpoint, or why a checkpoint cannot be resumed."""
    from ddpm import TrainingInterrupted
    from ddpm.checkpoints import OtherRun

    try:
        yield
    except OtherRun as other:
        option = OPTIONS.get(other.name, f"--{other.name.replace('_', '-')}, {other.begun}; now it is {other.now}")
        raise click.ClickException(f"{other.path!r} was begun with another {option}") from other
    except TrainingInterrupted as stopped:
        said = f"{stopped.done}: the same command with --resume continues from there"
        raise Interrupted(said, stopped.signal) from stopped


@contextlib.contextmanager
def process_group(device_type: str) -> Iterator[None]:
    """Join the process group, if torchrun has started this process."""
    _, size = rank_and_size()
    if not all(name in os.environ for name in NAMES) or (size == 1 and "MASTER_ADDR" not in os.environ):
        yield
        return
    if "MASTER_ADDR" not in os.environ:
        raise ValueError(
            f"the environment has WORLD_SIZE={size} but no MASTER_ADDR: start with torchrun, or unset RANK"
        )
    import torch.distributed as dist

    use_own_gpu()
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    yield
    dist.destroy_process_group()  # not after an error: other processes may be gone

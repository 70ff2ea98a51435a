"""Processes for tests, alone or as a torch.distributed group, forked from a server that has imported torch."""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

WAIT = 100.0  # seconds, until a test fails

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch.distributed", "ddpm", "ddpm.large_tables"])


def start(world: int, function: Callable[..., None], *arguments: Any) -> list[BaseProcess]:
    """Start `world` processes, each with its rank in a group, that call `function` with `arguments`."""
    store = Path(tempfile.mkdtemp()) / "store"
    found: list[BaseProcess] = [
        _context.Process(target=_member, args=(rank, world, store, function, arguments)) for rank in range(world)
    ]
    for process in found:
        process.start()
    return found


def run(world: int, function: Callable[..., None], *arguments: Any) -> None:
    """Start such a group and check that every process ends with exit code 0."""
    assert ended(start(world, function, *arguments)) == [0] * world


def started(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that calls `function`."""
    process = _context.Process(target=function, args=arguments)
    process.start()
    return process


def ended(processes: list[BaseProcess], wait: float = WAIT) -> list[int | None]:
    """Return the exit codes of processes. Wait up to `wait` seconds for each, then kill it."""
    for process in processes:
        process.join(wait)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def join(rank: int, world: int, store: Path, seconds: float = WAIT) -> None:
    """Make this process join a group. `store` is a new file, the same for all processes of the group."""
    torch.set_num_threads(1)
    found = dist.FileStore(str(store), world)
    wait = timedelta(seconds=seconds)
    dist.init_process_group("gloo", store=found, rank=rank, world_size=world, timeout=wait)


def _member(rank: int, world: int, store: Path, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    join(rank, world, store)
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    dist.destroy_process_group()

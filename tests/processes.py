"""Several processes of a group of torch.distributed, for tests; forked from one that has imported torch already."""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

WAIT = 100.0  # seconds, until a test fails

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch", "torch.distributed", "ddpm"])


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
    """Do so, and wait until they have ended well."""
    assert ended(start(world, function, *arguments)) == [0] * world


def alone(count: int, function: Callable[..., None], *arguments: Any) -> list[BaseProcess]:
    """Start processes without a group, that call `function` with `arguments` and their number, from 0."""
    found: list[BaseProcess] = [_context.Process(target=function, args=(*arguments, i)) for i in range(count)]
    for process in found:
        process.start()
    return found


def ended(processes: list[BaseProcess], wait: float = WAIT) -> list[int | None]:
    """Wait for processes and return their exit codes; those that do not end in so many seconds are killed."""
    for process in processes:
        process.join(wait)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def _member(rank: int, world: int, store: Path, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(str(store), world), rank=rank, world_size=world)
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    dist.destroy_process_group()

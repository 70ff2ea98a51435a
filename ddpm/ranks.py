"""The processes that train together: the default group of torch.distributed."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(seconds=45)  # how long a rank waits for the others in training
PATIENCE = 5.0  # seconds that a rank has to report that it is alive, after another is lost
KEY = "fused-ddpm/"  # prefix of our keys in the group's store


class RankLost(RuntimeError):
    """A process of the group has ended or no longer responds. The message names it."""


class RanksDiffer(ValueError):
    """The processes of a group have different arguments. The message names the first that differs."""


class Ranks:
    """All processes of a group, including this one.

    Attributes:
        rank: the rank of this process, from 0.
        size: the number of processes.
    """

    def __init__(self, group: "dist.ProcessGroup") -> None:
        self.rank, self.size, self.group = dist.get_rank(), dist.get_world_size(), group
        self._store = dist.distributed_c10d._get_default_store()
        self._store.set(f"{KEY}name/{self.rank}", f"rank {self.rank} (process {os.getpid()} on {socket.gethostname()})")

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all ranks, stacked, [size, ...].

        Raises:
            RankLost: a rank did not respond.
        """
        found = tensor.new_empty((self.size, *tensor.shape))
        with self._all_there():
            dist.all_gather(list(found.unbind()), tensor.contiguous(), group=self.group)
        return found

    def exchange(self, tensor: Tensor) -> Tensor:
        """Send row i of `tensor`, [size, ...], to rank i. Return the rows that all ranks sent to this one, [size, ...].

        Raises:
            RankLost: a rank did not respond.
        """
        found = torch.empty_like(tensor, memory_format=torch.contiguous_format)
        with self._all_there():
            dist.all_to_all_single(found, tensor.contiguous(), group=self.group)
        return found

    @contextlib.contextmanager
    def _all_there(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankLost(f"{self._lost()} ended or no longer responds, so training cannot continue") from error

    def _lost(self) -> str:
        """Return the names of the ranks that do not report that they are alive."""
        try:
            self._store.set(f"{KEY}alive/{self.rank}", "yes")
            others = [rank for rank in range(self.size) if rank != self.rank]
            end = time.monotonic() + PATIENCE
            while others and time.monotonic() < end:
                others = [rank for rank in others if not self._store.check([f"{KEY}alive/{rank}"])]
                time.sleep(0.1)
            return ", ".join(map(self._name, others)) or "a connection"
        except RuntimeError:  # the store ended with rank 0, which held it
            return "rank 0"

    def _name(self, rank: int) -> str:
        key = f"{KEY}name/{rank}"
        there = self._store.check([key])  # get would wait for a key that is not there
        return self._store.get(key).decode() if there else f"rank {rank}"


def is_group() -> bool:
    """Return whether torch.distributed has a default group."""
    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def current() -> Iterator[Ranks | None]:
    """Yield the ranks of the default group, or None if there is no such group. Every rank has to call this."""
    if not is_group():
        yield None
        return
    group = dist.new_group(timeout=TIMEOUT)
    try:
        yield Ranks(group)
    finally:
        dist.destroy_process_group(group)


def same(ranks: Ranks, digests: dict[str, bytes], device: torch.device) -> None:
    """Check that every rank has the same digests, of 32 bytes each.

    Raises:
        RanksDiffer: a digest differs. The message names the first that does, and the rank.
    """
    own = torch.tensor([list(digest) for digest in digests.values()], dtype=torch.uint8, device=device)
    differs = (ranks.gather(own) != own).flatten(2).any(2)
    for rank, name in differs.nonzero().tolist():
        raise RanksDiffer(f"{list(digests)[name]} must be the same on all ranks; rank {rank} differs from this rank")

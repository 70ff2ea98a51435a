"""The processes that train together: those of torch.distributed's default group."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(seconds=45)  # for which a rank waits for the others within training
PATIENCE = 5.0  # seconds in which a rank that is alive says so, once it has seen that another is not
KEY = "fused-ddpm/"  # before what is written to the group's store


class RankLost(RuntimeError):
    """A process of the group has ended, or answers no more; names it."""


class RanksDiffer(ValueError):
    """Processes of a group have been called with different arguments; names the first."""


class Ranks:
    """All processes of a group, of which this is one.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
    """

    def __init__(self, group: "dist.ProcessGroup") -> None:
        self.rank, self.size, self.group = dist.get_rank(), dist.get_world_size(), group
        self._store = dist.distributed_c10d._get_default_store()
        self._store.set(f"{KEY}name/{self.rank}", f"rank {self.rank} (process {os.getpid()} on {socket.gethostname()})")

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all ranks, [size, ...].

        Raises:
            RankLost: not every rank has answered.
        """
        found = tensor.new_empty((self.size, *tensor.shape))
        with self._all_there():
            dist.all_gather(list(found.unbind()), tensor.contiguous(), group=self.group)
        return found

    def exchange(self, tensor: Tensor) -> Tensor:
        """Give row i of `tensor`, [size, ...], to rank i, and return what all have given to this one, [size, ...].

        Raises:
            RankLost: not every rank has answered.
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
            raise RankLost(f"{self._lost()} ended or answers no more, so that training cannot go on") from error

    def _lost(self) -> str:
        """Return the names of the ranks that do not say that they are alive."""
        try:
            self._store.set(f"{KEY}alive/{self.rank}", "yes")
            others = [rank for rank in range(self.size) if rank != self.rank]
            end = time.monotonic() + PATIENCE
            while others and time.monotonic() < end:
                others = [rank for rank in others if not self._store.check([f"{KEY}alive/{rank}"])]
                time.sleep(0.1)
            return ", ".join(map(self._name, others)) or "a connection"
        except RuntimeError:  # the store has gone with the rank that had it
            return "rank 0"

    def _name(self, rank: int) -> str:
        key = f"{KEY}name/{rank}"
        there = self._store.check([key])  # to get what is not there would be to wait for it
        return self._store.get(key).decode() if there else f"rank {rank}"


def is_group() -> bool:
    """Return whether torch.distributed has a default group."""
    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def current() -> Iterator[Ranks | None]:
    """Give the ranks of the default group, each of which has to call this; None where there is no such group."""
    if not is_group():
        yield None
        return
    group = dist.new_group(timeout=TIMEOUT)
    try:
        yield Ranks(group)
    finally:
        dist.destroy_process_group(group)


def same(ranks: Ranks, digests: dict[str, bytes], device: torch.device) -> None:
    """Raise unless every rank has the same digests, of 32 bytes each.

    Raises:
        RanksDiffer: names the first that differs, and the rank.
    """
    own = torch.tensor([list(digest) for digest in digests.values()], dtype=torch.uint8, device=device)
    differs = (ranks.gather(own) != own).flatten(2).any(2)
    for rank, name in differs.nonzero().tolist():
        raise RanksDiffer(
            f"{list(digests)[name]} must be the same on all ranks; on rank {rank} it is another than here"
        )

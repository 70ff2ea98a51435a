"""All that the result of training depends on, by name: to tell one run from another."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ddpm.batches import Rows
from ddpm.diffusion import Diffusion
from ddpm.ranks import Ranks
from ddpm.recipe import Recipe
from ddpm.shards import Shard, gather, own

CHUNK = 2**20  # rows that are looked at together: of a file that is mapped, few are in memory at a time


def identity(
    diffusion: Diffusion,
    steps: int,
    recipe: Recipe,
    seen: Rows,
    unseen: Rows | None,
    shards: Sequence[Shard] | None,
    ranks: Ranks | None,
) -> dict[str, Any]:
    """Return the arguments of ddpm.train by name, as JSON has them, with digests of data.

    Args:
        diffusion: for its network, but for the weights, its schedule and its backend.
        steps, recipe, seen, unseen: the arguments.
        shards: of the data; None is one. Of each the rank that computes it takes the digest.
        ranks: None where this process is alone.
    """
    network = diffusion.network
    return {
        "steps": steps,
        **asdict(recipe),
        "network": getattr(network, "arguments", type(network).__name__),
        "dtype": str(next(network.parameters()).dtype),
        "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
        "schedule": digest([diffusion.schedule.betas]),
        "backend": diffusion.backend,
        "x0": _of_all(seen, shards, ranks),
        "validation": None if unseen is None else digest(unseen),
    }


def digest(tensors: Sequence[Tensor | None]) -> str:
    """Return the SHA-256 of the shapes, dtypes and numbers of tensors, in hexadecimal."""
    return _sha256(tensors).hexdigest()


def digests(values: dict[str, Any]) -> dict[str, bytes]:
    """Return the SHA-256 of each value, as JSON has it."""
    return {name: hashlib.sha256(json.dumps(value).encode()).digest() for name, value in values.items()}


def _of_all(seen: Rows, shards: Sequence[Shard] | None, ranks: Ranks | None) -> str:
    """The digest of all rows, or of the digests of all shards."""
    if shards is None:
        return digest(seen)
    found = []
    for i in own(len(shards), ranks):
        found.append(list(_sha256(seen.at(shards[i].slice)).digest()))
    every = gather(torch.tensor(found, dtype=torch.uint8, device=seen.x0.device), len(shards), ranks)
    return digest([every])


def _sha256(tensors: Sequence[Tensor | None]) -> "hashlib._Hash":
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(b"none" if tensor is None else f"{list(tensor.shape)} {tensor.dtype}".encode())
        for chunk in () if tensor is None else tensor.detach().split(CHUNK):
            found.update(chunk.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found

"""Everything that the result of training depends on, by name. It tells one run from another."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ddpm.batches import Rows
from ddpm.diffusion import Diffusion
from ddpm.networks import GaussianMLP
from ddpm.ranks import Ranks
from ddpm.recipe import Recipe
from ddpm.shards import Shard, gather, own

CHUNK = 2**20  # rows hashed at a time, so that few rows of a mapped file are in memory


def identity(diffusion: Diffusion, steps: int, recipe: Recipe, seen: Rows, unseen: Rows | None) -> dict[str, Any]:
    """Return the arguments of ddpm.train by name, as values that JSON can hold; for the training data only shapes.

    Args:
        diffusion: its network (without the weights), schedule and backend are included.
        steps, recipe, seen, unseen: the other arguments.
    """
    network, backend = diffusion.network, diffusion.backend
    # torch's sums depend on the number of threads; each shard is computed on one thread
    counts = seen.x0.device.type == "cpu" and backend != "native" and recipe.shards is None
    return {
        "shape of x0": list(seen.x0.shape),
        "shape of condition": None if seen.condition is None else list(seen.condition.shape),
        "network": network.arguments if isinstance(network, GaussianMLP) else type(network).__name__,
        "dtype": str(next(network.parameters()).dtype),
        "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
        "schedule": digest([diffusion.schedule.betas]),
        "backend": backend,
        "steps": steps,
        **asdict(recipe),
        "validation": None if unseen is None else digest(unseen),
        "threads": torch.get_num_threads() if counts else 1,
    }


def state(diffusion: Diffusion) -> str:
    """Return the SHA-256 of everything from which training continues, in hexadecimal."""
    tensors = dict((*diffusion.named_parameters(), *diffusion.named_buffers()))
    for kind, of in ({"optimizer": diffusion.optimizer_state or {}} | {"kept": diffusion.kept}).items():
        tensors |= {f"{kind}.{name}.{key}": tensor for name, each in of.items() for key, tensor in each.items()}
    names = sorted(tensors)
    said = json.dumps([diffusion.iteration, names])
    return hashlib.sha256(f"{said}{digest([tensors[name] for name in names])}".encode()).hexdigest()


def digest(tensors: Sequence[Tensor | None]) -> str:
    """Return the SHA-256 of the shapes, dtypes and values of tensors, in hexadecimal."""
    return _sha256(tensors).hexdigest()


def digests(values: dict[str, Any]) -> dict[str, bytes]:
    """Return the SHA-256 of each value, written as JSON."""
    return {name: hashlib.sha256(json.dumps(value).encode()).digest() for name, value in values.items()}


def of_all(seen: Rows, shards: Sequence[Shard] | None, ranks: Ranks | None) -> str:
    """Return the digest of all rows or, with shards, the digest of the shards' digests.

    Each rank computes the digests of its own shards.

    Args:
        seen: the rows.
        shards: the shards of the rows; None if they are not split.
        ranks: the ranks; None if this process is alone.
    """
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
        for chunk in () if tensor is None else torch.atleast_1d(tensor.detach()).split(CHUNK):
            found.update(chunk.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found

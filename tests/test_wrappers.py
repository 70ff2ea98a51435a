"""A Diffusion in the wrappers for several processes: DistributedDataParallel, Lightning and accelerate."""

import os
from pathlib import Path
from typing import Any

import oracle
import processes
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import ddpm

X0 = oracle.points(60, 2)
STEPS = 4


def diffusion() -> ddpm.Diffusion:
    return ddpm.Diffusion(ddpm.GaussianMLP(2, (8,), seed=1), ddpm.Schedule.constant(20, 0.02), "native")


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0)


def half() -> tuple[torch.Tensor, int]:
    """Return the rows of this rank, and the index of the first."""
    first = 30 * dist.get_rank()
    return X0[first : first + 30], first


def expected() -> ddpm.Diffusion:
    """Train on all rows in one process."""
    model = diffusion()
    ddpm.train(model, X0, steps=STEPS, lr=0.01, weight_decay=0.0, progress=False)
    return model


def check(path: Path, world: int = 2) -> None:
    """Check that the weights of every rank are those of one process, up to the rounding of a mean of two means."""
    whole = dict(expected().named_parameters())
    for rank in range(world):
        found = torch.load(path / f"{rank}.pt")
        for name, p in whole.items():
            torch.testing.assert_close(found[name], p.detach(), rtol=1e-4, atol=1e-5)


def keep(model: ddpm.Diffusion, path: Path) -> None:
    torch.save(dict(model.named_parameters()), path / f"{dist.get_rank()}.pt")


def with_torch(path: Path) -> None:
    """Train under torch's own wrapper."""
    model, (x0, first) = diffusion(), half()
    wrapped = DistributedDataParallel(model)
    optimizer = adamw(wrapped.parameters())
    for step in range(STEPS):
        optimizer.zero_grad()
        wrapped(x0, step=step, first=first).backward()
        optimizer.step()
    keep(model, path)


def with_accelerate(path: Path) -> None:
    """Train as accelerate prepares it."""
    from accelerate import Accelerator

    rank, world = str(dist.get_rank()), str(dist.get_world_size())
    os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, LOCAL_WORLD_SIZE=world)  # as torchrun sets them
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="0")
    model, (x0, first), accelerator = diffusion(), half(), Accelerator(cpu=True)
    wrapped, optimizer = accelerator.prepare(model, adamw(model.parameters()))
    assert accelerator.num_processes == 2
    for step in range(STEPS):
        optimizer.zero_grad()
        accelerator.backward(wrapped(x0, step=step, first=first))
        optimizer.step()
    assert accelerator.unwrap_model(wrapped) is model
    keep(model, path)


def with_lightning(path: Path) -> None:
    """Train as Lightning's Fabric sets it up."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import LightningEnvironment
    from lightning.fabric.strategies import DDPStrategy

    class Here(LightningEnvironment):
        """An environment whose processes run already."""

        creates_processes_externally = True

    fabric = Fabric(accelerator="cpu", devices=2, strategy=DDPStrategy(cluster_environment=Here()))
    fabric.launch()
    model, (x0, first) = diffusion(), half()
    wrapped, optimizer = fabric.setup(model, adamw(model.parameters()))
    for step in range(STEPS):
        optimizer.zero_grad()
        fabric.backward(wrapped(x0, step=step, first=first))
        optimizer.step()
    keep(model, path)


def test_distributed_data_parallel(tmp_path: Path) -> None:
    processes.run(2, with_torch, tmp_path)
    check(tmp_path)


def test_accelerate(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    processes.run(2, with_accelerate, tmp_path)
    check(tmp_path)


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    processes.run(2, with_lightning, tmp_path)
    check(tmp_path)

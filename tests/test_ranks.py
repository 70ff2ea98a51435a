# mypy: disable-error-code="arg-type"
"""Training on several ranks: the same bits on any number of them, also after a resume; all end when one dies."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import oracle
import processes
import pytest
import test_checkpoints
import torch
import torch.distributed as dist
from test_checkpoints import EVERYTHING, PLAIN, diffusion, file_of

import ddpm
from ddpm import checkpoint, ranks
from ddpm.ranks import RankLost

X0 = oracle.points(64, 2)
STEPS = 20


def train(model: ddpm.Diffusion, steps: int = STEPS, **options: Any) -> ddpm.TrainingResult:
    return ddpm.train(model, X0, steps=steps, progress=False, **{"shards": 12} | options)


def train_and_save(path: Path, backend: str, dropout: float, options: dict[str, Any]) -> None:
    """Train on each rank, and save the model of each."""
    model = diffusion(backend, dropout)
    train(model, **options)
    ddpm.save(model, path / f"{dist.get_world_size()}-{dist.get_rank()}.safetensors")


@pytest.mark.parametrize(
    ("worlds", "backend", "dropout", "options"),
    [
        ((1, 2, 3, 8), "native", 0.0, PLAIN),
        ((1, 2, 3, 8), "native", 0.0, EVERYTHING),
        ((3,), "vectorized", 0.0, EVERYTHING),
        ((3,), "reference", 0.2, EVERYTHING),
    ],
    ids=["plain", "native", "vectorized", "dropout"],
)
def test_the_same_bits_on_any_number_of_ranks(
    tmp_path: Path, worlds: tuple[int, ...], backend: str, dropout: float, options: dict[str, Any]
) -> None:
    for world in worlds:
        processes.run(world, train_and_save, tmp_path, backend, dropout, options)
    alone = diffusion(backend, dropout)
    train(alone, **options)
    expected = file_of(alone, tmp_path)
    for world in worlds:
        for rank in range(world):
            assert (tmp_path / f"{world}-{rank}.safetensors").read_bytes() == expected


def train_to_a_signal(path: Path) -> None:
    """Train until one rank gets a signal, after which all have to stop."""
    if dist.get_rank() == 1:
        test_checkpoints.send(pytest.MonkeyPatch(), {8: (signal.SIGTERM,)})
    with pytest.raises(ddpm.TrainingInterrupted, match=r"interrupted after (9|10) of 20 iterations"):
        train(diffusion(), **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5))


def resume(path: Path, folder: Path) -> None:
    """Go on from a checkpoint, and save the model of each rank."""
    model = diffusion()
    train(model, **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5, resume=True))
    ddpm.save(model, folder / f"{dist.get_rank()}.safetensors")


def test_a_run_on_two_ranks_goes_on_on_three(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    processes.run(2, train_to_a_signal, path)
    processes.run(3, resume, path, tmp_path)
    alone = diffusion()
    train(alone, **EVERYTHING)
    for rank in range(3):
        assert (tmp_path / f"{rank}.safetensors").read_bytes() == file_of(alone, tmp_path)


def train_with_other_arguments(folder: Path) -> None:
    """Call train on each rank with an argument that differs from the other rank's."""
    rank = dist.get_rank()
    for own, said in (
        ({"lr": 0.01 * (1 + rank)}, "lr must be the same on all ranks"),
        ({"seed": rank}, "seed must be the same on all ranks"),
        ({"shards": 1}, "shards must be at least 2, the number of ranks"),
        ({"batch_size": 1}, "shards must be at least 2, the number of ranks, and a batch must have as many rows"),
    ):
        with pytest.raises(ValueError, match=said):
            train(diffusion(), **own)
    model = diffusion()
    with torch.no_grad():
        next(model.parameters()).add_(rank)
    with pytest.raises(ValueError, match=f"state of diffusion must be the same on all ranks; rank {1 - rank}"):
        train(model)
    path = folder / f"{rank}.safetensors"
    train(diffusion(), checkpoints=ddpm.Checkpoints(folder / "0.safetensors", 5))
    assert path.exists() == (rank == 0)
    with pytest.raises(ValueError, match="iteration must be the same on all ranks"):  # a file that one rank cannot see
        train(diffusion(), checkpoints=ddpm.Checkpoints(path, 5, resume=True))


def test_ranks_with_other_arguments_are_told(tmp_path: Path) -> None:
    processes.run(2, train_with_other_arguments, tmp_path)


def train_until_one_dies(path: Path, how: int) -> None:
    """Train for ever. Rank 1 kills or stops itself, and the others name it."""
    ranks.TIMEOUT, ranks.PATIENCE = timedelta(seconds=3), 1.0
    if dist.get_rank() == 1:
        test_checkpoints.send(pytest.MonkeyPatch(), {7: (how,)})
    with pytest.raises(RankLost, match=r"^rank 1 \(process \d+ on .+\) ended or no longer responds"):
        train(diffusion(), 10**6, **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 1))
    os._exit(0)  # a group that has lost a rank cannot be shut down cleanly


def test_the_others_have_a_minute() -> None:
    assert ranks.TIMEOUT.total_seconds() + ranks.PATIENCE < 60


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_rank_that_dies_ends_the_others(tmp_path: Path, how: int) -> None:
    path = tmp_path / "run.safetensors"
    first, dead, last = processes.start(3, train_until_one_dies, path, how)
    assert processes.ended([first, last]) == [0, 0]
    dead.kill()
    saved, _ = checkpoint.load_with_parts(path)
    assert saved.iteration in (7, 8)

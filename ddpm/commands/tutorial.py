"""`ddpm train --tutorial`: two networks of one hidden layer, trained on columns that are not scaled."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from ddpm.commands.reading import read_table

FRESH_STEPS = 20  # trajectories of each point for the bound after training

# options that have another default, or none, without --tutorial
DEFAULTS: dict[str, Any] = {"steps": 1000, "lr": 1e-2, "hidden": (32,), "timesteps": 250, "schedule": "constant"}


def train_tutorial(data: Path, checkpoints: Any, **options: Any) -> tuple[Callable[[Path], None], Callable[[], str]]:
    """Train as the tutorial does. Return a function that writes the model, and one that returns its bound as text."""
    import torch

    import ddpm
    from kernels.backends import device_type_for

    chosen = DEFAULTS | {name: value for name, value in options.items() if value is not None}
    points = _as_they_are(data, read_table(data, None, options["columns"]))
    device = device_type_for(options["backend"])
    x0 = torch.from_numpy(points).to(device)
    network = ddpm.GaussianMLP(dim=points.shape[1], hidden=chosen["hidden"], seed=chosen["seed"]).to(device)
    schedule = _schedule(chosen["schedule"], chosen["timesteps"])
    diffusion = ddpm.Diffusion(network, schedule, backend=options["backend"])
    ddpm.train(diffusion, x0, chosen["steps"], lr=chosen["lr"], seed=chosen["seed"], checkpoints=checkpoints)

    def bound() -> str:
        found = fresh_bound(diffusion, x0, seed=chosen["seed"], step=chosen["steps"])
        if not math.isfinite(found):  # no later iteration checks the last update
            raise FloatingPointError(f"the bound is {found} after the last iteration")
        return f"bound {found:.3f} nats per dimension"

    return partial(ddpm.save, diffusion), bound


def _as_they_are(data: Path, found: Any) -> Any:
    """Return the points as float32, [N, D].

    Warn about columns far from mean 0 and standard deviation 1, and about different numbers that float32 makes equal.
    """
    import numpy as np

    from ddpm.tables import collapsed

    names = found.columns.names
    exact = np.asarray(found.x, dtype=np.float64)
    with np.errstate(over="ignore"):
        points = exact.astype(np.float32)
    if not np.isfinite(points).all():
        row, column = np.argwhere(~np.isfinite(points))[0]
        raise ValueError(
            f"{data}: row {row} (from 0), column {names[column]!r}: {exact[row, column]} overflows float32: scale it"
        )
    mean, std = exact.mean(0), exact.std(0)
    far = [
        f"{name} (mean {m:.3g}, standard deviation {s:.3g})"
        for name, m, s in zip(names, mean, std, strict=True)
        if not (0.1 <= s <= 10 and abs(m) <= 10)
    ]
    if far:
        listed = ", ".join(far[:5]) + (", ..." if len(far) > 5 else "")
        click.echo(f"ddpm: warning: {data}: far from mean 0 and standard deviation 1: {listed}", err=True)
    for name, before, after in collapsed(exact, points, names):
        click.echo(
            f"ddpm: warning: {data}: {name} has {before} different numbers, but in float32 only {after}", err=True
        )
    return points


def fresh_bound(diffusion: Any, x0: Any, seed: int, step: int) -> float:
    """Return the variational bound in nats per dimension, the mean over trajectories that training did not see."""
    losses = [float(diffusion.loss(x0, seed=seed, step=step + i).detach()) for i in range(FRESH_STEPS)]
    return (diffusion.schedule.steps + 1) * math.fsum(losses) / FRESH_STEPS


def _schedule(name: str, timesteps: int) -> Any:
    """Return the named schedule of T steps. For every T, signal and noise end as in the papers."""
    import ddpm

    if name == "constant":  # the tutorial's: 250 steps of 0.02
        return ddpm.Schedule.constant(timesteps, 1 - 0.98 ** (250 / timesteps))
    if name == "linear":  # Ho 2020: 1000 steps from 1e-4 to 0.02
        return ddpm.Schedule.linear(timesteps, 0.1 / timesteps, min(20 / timesteps, 0.999))
    return ddpm.Schedule.cosine(timesteps)

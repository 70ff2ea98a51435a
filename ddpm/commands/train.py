"""`ddpm train`: a model of a table, or the tutorial's of points as they are."""

import math
from pathlib import Path
from typing import Any

import click

from ddpm.commands.options import Widths, backend_option, columns_option, file, force_option, seed_option
from ddpm.commands.output import say

SCORED = 1000  # rows of which the bound is shown after training
FRESH_STEPS = 20  # trajectories of each point over which the tutorial's bound is averaged after training

# options of the tutorial's training that have another default, or none, without --tutorial
TUTORIAL: dict[str, Any] = {"steps": 1000, "lr": 1e-2, "hidden": (32,), "timesteps": 250, "schedule": "constant"}
RENAMED = {"lr": "learning_rate", "transform": "scaling"}  # options that the estimator calls so
NOT_IN_TUTORIAL = ("target", "batch_size", "transform")


@click.command()
@click.argument("data", type=file)
@click.option("--out", type=file, metavar="MODEL", required=True, help="Model file to write, .safetensors.")
@click.option("--target", metavar="COLUMN", help="Column of classes: the model learns the rows of each class.")
@columns_option
@click.option("--transform", type=click.Choice(["standard", "power", "quantile", "none"]), help="Of each column.")
@click.option("--hidden", metavar="H,H,...", type=Widths(), help="Widths of the hidden layers.")
@click.option("--timesteps", metavar="T", type=click.IntRange(1, 2**18), help="Steps T between data and noise.")
@click.option("--steps", metavar="N", type=click.IntRange(1, 2**32 - 1), help="Updates of the weights.")
@click.option("--batch-size", metavar="N", type=click.IntRange(1, 2**32 - 1), help="Rows an update.")
@click.option("--lr", metavar="X", type=click.FloatRange(min=0, min_open=True), help="Learning rate.")
@click.option("--tutorial", is_flag=True, help="Train as the tutorial does: points as they are, all of them at once.")
@click.option(
    "--schedule",
    type=click.Choice(["constant", "linear", "cosine"]),
    help="With --tutorial: how the noise is spread over the T steps.",
)
@seed_option
@backend_option
@force_option
def train(data: Path, out: Path, force: bool, tutorial: bool, **options: Any) -> None:
    """Learn from a table and write a model file.

    DATA is a .csv, .parquet or .npy file, or a folder of .parquet files: numbers, none missing, one row a point. Only a
    --target may be text. A .csv file has fields separated by commas, semicolons or tabs, and may begin with a row of
    names; a column without a name is called by its place, 0 the first.

    What is not given is chosen by the shape of the table.

    With --tutorial two networks of one hidden layer are trained on the points as they are. The chain ends in noise of
    standard deviation 1: scale the columns to something near that first.

    Prints the variational bound of the negative log-likelihood after training, in nats: the lower, the better.
    """
    from ddpm.files import check_output

    if out.suffix != ".safetensors":
        raise click.BadParameter(f"{out} does not end in .safetensors", param_hint="'--out'")
    given = {name for name, value in options.items() if value is not None}
    for name in NOT_IN_TUTORIAL if tutorial else ("schedule",):
        if name in given:
            goes = "does not go with" if tutorial else "goes only with"
            raise click.UsageError(f"--{name.replace('_', '-')} {goes} --tutorial")
    check_output(out, force)

    from kernels import arguments
    from kernels.backends import device_type_for

    device_type_for(options["backend"])
    if not tutorial and options["timesteps"] == 1:
        raise click.BadParameter("1 goes only with --tutorial", param_hint="'--timesteps'")
    arguments.integer("seed", options["seed"], *((-(2**63), 2**64 - 1) if tutorial else (0, 2**32 - 1)))
    if options["lr"] is not None:
        arguments.number("lr", options["lr"], 0)
    said = (_train_tutorial if tutorial else _train_table)(data, out, **options)
    say(f"{said}; wrote {out}")


def _train_table(data: Path, out: Path, **options: Any) -> str:
    """Train, write the model and return its bound in words."""
    from ddpm import DDPM

    names = ("hidden", "timesteps", "steps", "batch_size", "lr", "transform", "backend")
    chosen = {RENAMED.get(name, name): options[name] for name in names if options[name] is not None}
    if chosen.get("scaling") == "none":
        chosen["scaling"] = None
    model = DDPM(**chosen, random_state=options["seed"], verbose=True)
    try:
        x, y = _fit(model, data, options["target"], options["columns"])
    except FloatingPointError as error:
        raise click.ClickException(f"training diverged, {error}: try a smaller --lr") from error
    except ValueError as error:
        place = "" if str(error).startswith(str(data)) else f"{data}: "
        raise ValueError(f"{place}{error}") from error
    bound = -model.score_samples(x, y, samples=1).mean()
    model.save(out)
    return f"bound {bound:.3f} nats a row"


def _fit(model: Any, data: Path, target: str | None, columns: list[str] | None) -> tuple[Any, Any]:
    """Fit a model to a table, in memory or in parts; return some of its rows."""
    from ddpm import table_files

    parts = table_files.parts_of_large(data, target, columns)
    if parts is not None:
        from ddpm import large_tables

        say(table_files.described(data, parts.rows, parts.columns))
        large_tables.fit(model, parts)
        model.columns_ = parts.columns
        x, y = next(parts.read())
    else:
        x, y, read_columns = _read(data, target, columns)
        model.fit(x, y).columns_ = read_columns
    return x[:SCORED], None if y is None else y[:SCORED]


def _read(data: Path, target: str | None, columns: list[str] | None) -> Any:
    """Read a table of two rows or more, and say what was read."""
    from ddpm import table_files

    found = table_files.read(data, target, columns)
    say(table_files.described(data, len(found.x), found.columns))
    if len(found.x) < 2:
        raise ValueError(f"{data}: has one row, of which nothing can be learnt")
    return found


def _train_tutorial(data: Path, out: Path, **options: Any) -> str:
    """Train as the tutorial does, write the model and return its bound in words."""
    import torch

    import ddpm
    from kernels.backends import device_type_for

    chosen = TUTORIAL | {name: value for name, value in options.items() if value is not None}
    points = _as_they_are(data, _read(data, None, options["columns"]))
    device = device_type_for(options["backend"])
    x0 = torch.from_numpy(points).to(device)
    network = ddpm.GaussianMLP(dim=points.shape[1], hidden=chosen["hidden"], seed=chosen["seed"]).to(device)
    schedule = _schedule(chosen["schedule"], chosen["timesteps"])
    diffusion = ddpm.Diffusion(network, schedule, backend=options["backend"])
    try:
        ddpm.train(diffusion, x0, steps=chosen["steps"], lr=chosen["lr"], seed=chosen["seed"], progress=True)
        bound = fresh_bound(diffusion, x0, seed=chosen["seed"], step=chosen["steps"])
        if not math.isfinite(bound):  # the last update is the one that no later step of training looks at
            raise FloatingPointError(f"the bound is {bound} after the last iteration")
    except FloatingPointError as error:
        raise click.ClickException(f"training diverged, {error}: try a smaller --lr than {chosen['lr']}") from error
    ddpm.save(diffusion, out)
    return f"bound {bound:.3f} nats per dimension"


def _as_they_are(data: Path, found: Any) -> Any:
    """Return float32 points [N, D]; warn where they are not near a standard normal, or lose what tells them apart."""
    import numpy as np

    from ddpm.tables import collapsed

    names = found.columns.names
    exact = np.asarray(found.x, dtype=np.float64)
    with np.errstate(over="ignore"):
        points = exact.astype(np.float32)
    if not np.isfinite(points).all():
        row, column = np.argwhere(~np.isfinite(points))[0]
        raise ValueError(
            f"{data}: row {row} (from 0), column {names[column]!r}: {exact[row, column]} is beyond float32: scale it"
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
        click.echo(f"ddpm: warning: {data}: {name} has {before} different numbers, in float32 only {after}", err=True)
    return points


def fresh_bound(diffusion: Any, x0: Any, seed: int, step: int) -> float:
    """Return the variational bound in nats per dimension, the mean over trajectories that training did not see."""
    losses = [float(diffusion.loss(x0, seed=seed, step=step + i).detach()) for i in range(FRESH_STEPS)]
    return (diffusion.schedule.steps + 1) * math.fsum(losses) / FRESH_STEPS


def _schedule(name: str, timesteps: int) -> Any:
    """The named schedule of T steps; signal and noise end as they do in the papers, whatever T is."""
    import ddpm

    if name == "constant":  # the tutorial's: 250 steps of 0.02
        return ddpm.Schedule.constant(timesteps, 1 - 0.98 ** (250 / timesteps))
    if name == "linear":  # Ho 2020: 1000 steps from 1e-4 to 0.02
        return ddpm.Schedule.linear(timesteps, 0.1 / timesteps, min(20 / timesteps, 0.999))
    return ddpm.Schedule.cosine(timesteps)

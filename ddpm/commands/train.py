"""`ddpm train`: train a model of a table, or the tutorial's model with --tutorial."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from ddpm.commands.long_runs import Period, checkpoint_of, checkpoints_for, interruptible, process_group
from ddpm.commands.options import Widths, backend_option, columns_option, file, force_option, seed_option
from ddpm.commands.output import say
from ddpm.commands.reading import read_table
from ddpm.commands.tutorial import train_tutorial
from ddpm.torchrun import rank_and_size

SCORED = 1000  # rows, at most, for the bound that is printed after training
RENAMED = {"lr": "learning_rate", "transform": "scaling"}  # options with another name in the estimator
NOT_IN_TUTORIAL = ("target", "batch_size", "transform")


@click.command()
@click.argument("data", type=file)
@click.option(
    "--out", type=file, metavar="MODEL", required=True, help="Model file to write. Its name must end in .safetensors."
)
@click.option(
    "--target",
    metavar="COLUMN",
    help="Column that holds the class of each row. The model learns the rows of each class.",
)
@columns_option
@click.option(
    "--transform", type=click.Choice(["standard", "power", "quantile", "none"]), help="How to scale each column."
)
@click.option(
    "--hidden", metavar="H,H,...", type=Widths(), help="Widths of the hidden layers of the network, such as 64,64."
)
@click.option(
    "--timesteps", metavar="T", type=click.IntRange(1, 2**18), help="Number of time steps T from data to noise."
)
@click.option(
    "--steps", metavar="N", type=click.IntRange(1, 2**32 - 1), help="Number of iterations (updates of the weights)."
)
@click.option("--batch-size", metavar="N", type=click.IntRange(1, 2**32 - 1), help="Number of rows for each iteration.")
@click.option(
    "--lr",
    metavar="X",
    type=click.FloatRange(min=0, min_open=True),
    help="Learning rate: how far an iteration moves the weights.",
)
@click.option("--tutorial", is_flag=True, help="Train as the tutorial does: no scaling, all rows in every iteration.")
@click.option(
    "--schedule",
    type=click.Choice(["constant", "linear", "cosine"]),
    help="With --tutorial: how the noise is spread over the time steps.",
)
@seed_option
@backend_option
@click.option(
    "--checkpoint-every",
    metavar="N|TIME",
    type=Period(),
    help="Save a checkpoint beside MODEL every N iterations, or every 60s, 10m or 1h.",
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint of the same command, if there is one.")
@force_option
def train(
    data: Path,
    out: Path,
    force: bool,
    tutorial: bool,
    checkpoint_every: int | timedelta | None,
    resume: bool,
    **options: Any,
) -> None:
    """Train a model on a table, and write it to a file.

    DATA is a .csv, .parquet or .npy file, or a folder of .parquet files. All columns must hold numbers, without missing
    values. Only the --target column may hold text. The fields of a .csv file are separated by commas, semicolons or
    tabs, and its first row may hold the names of the columns. A column without a name is called by its position: 0 is
    the first.

    Options that are not given are chosen to suit the shape of the table.

    With --tutorial, columns are not scaled, and the two networks have one hidden layer by default. The forward process
    ends in noise of mean 0 and standard deviation 1, so scale the columns roughly to that first.

    With --checkpoint-every, Ctrl-C or SIGTERM stops training after the current iteration and saves a checkpoint.
    --resume then continues, and the result is the same, bit for bit, as without the stop. Under torchrun, all processes
    train one model together. The result is the same for any number of processes, bit for bit.

    At the end, the command prints the variational bound of the negative log-likelihood, in nats. Lower is better.
    """
    from ddpm.files import check_output

    if out.suffix != ".safetensors":
        raise click.BadParameter(f"{out} does not end in .safetensors", param_hint="'--out'")
    given = {name for name, value in options.items() if value is not None}
    for name in NOT_IN_TUTORIAL if tutorial else ("schedule",):
        if name in given:
            goes = "cannot be used with" if tutorial else "can only be used with"
            raise click.UsageError(f"--{name.replace('_', '-')} {goes} --tutorial")
    check_output(out, force)

    from kernels import arguments
    from kernels.backends import device_type_for

    device_type = device_type_for(options["backend"])
    if not tutorial and options["timesteps"] == 1:
        raise click.BadParameter("1 can only be used with --tutorial", param_hint="'--timesteps'")
    arguments.integer("seed", options["seed"], *((-(2**63), 2**64 - 1) if tutorial else (0, 2**32 - 1)))
    if options["lr"] is not None:
        arguments.number("lr", options["lr"], 0)
    kept = checkpoints_for(out, checkpoint_every, resume, force)
    group = process_group(device_type if tutorial else "cpu")  # tables are trained on the CPU
    with group, interruptible(), _divergence_explained(options["lr"] or 1e-2, kept is not None):
        write, bound = (train_tutorial if tutorial else _train_table)(data, kept, **options)
        if rank_and_size()[0] > 0:
            return
        said = bound()
        write(out)
    if kept is not None:
        checkpoint_of(out).unlink(missing_ok=True)
    say(f"{said}; wrote {out}")


@contextlib.contextmanager
def _divergence_explained(lr: float, kept: bool) -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:
        instead = f"a smaller --lr than {lr}{', with --force instead of --resume' if kept else ''}"
        raise click.ClickException(f"training diverged, {error}: try {instead}") from error


def _train_table(data: Path, checkpoints: Any, **options: Any) -> tuple[Callable[[Path], None], Callable[[], str]]:
    """Train a model. Return a function that writes it, and a function that returns its bound as text."""
    from ddpm import DDPM
    from ddpm.checkpoints import OtherRun
    from ddpm.ranks import RanksDiffer

    names = ("hidden", "timesteps", "steps", "batch_size", "lr", "transform", "backend")
    chosen = {RENAMED.get(name, name): options[name] for name in names if options[name] is not None}
    if chosen.get("scaling") == "none":
        chosen["scaling"] = None
    model = DDPM(**chosen, random_state=options["seed"], verbose=True)
    try:
        x, y = _fit(model, data, options["target"], options["columns"], checkpoints)
    except (OtherRun, RanksDiffer):
        raise
    except ValueError as error:
        named = (str(data), *(() if checkpoints is None else (repr(str(checkpoints.path)), str(checkpoints.path))))
        place = "" if str(error).startswith(named) else f"{data}: "
        raise ValueError(f"{place}{error}") from error
    return model.save, lambda: f"bound {-model.score_samples(x, y, samples=1).mean():.3f} nats a row"


def _fit(model: Any, data: Path, target: str | None, columns: list[str] | None, checkpoints: Any) -> tuple[Any, Any]:
    """Fit a model to a table, in memory or in parts. Return the first rows, at most SCORED."""
    from ddpm import table_files

    parts = table_files.parts_of_large(data, target, columns)
    if parts is not None:
        from ddpm import large_tables

        say(table_files.described(data, parts.rows, parts.columns), once=True)
        large_tables.fit(model, parts, checkpoints)
        model.columns_ = parts.columns
        x, y = next(parts.read())
    else:
        x, y, read_columns = read_table(data, target, columns)
        model.fit(x, y, checkpoints=checkpoints).columns_ = read_columns
    return x[:SCORED], None if y is None else y[:SCORED]

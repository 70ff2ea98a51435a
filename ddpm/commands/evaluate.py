"""`ddpm evaluate`: measure how good a model is, on data that it has not seen."""

from pathlib import Path
from typing import Any

import click

from ddpm.commands.options import backend_option, columns_option, file, seed_option
from ddpm.commands.output import say


@click.command()
@click.argument("model", type=file)
@click.argument("data", type=file)
@click.option("--out", type=file, metavar="DIR", help="Folder for figures. It is created if it does not exist.")
@columns_option
@seed_option
@backend_option
def evaluate(
    model: Path, data: Path, out: Path | None, columns: list[str] | None, seed: int, backend: str | None
) -> None:
    """Measure how good a model is, on DATA that it was not trained on.

    MODEL is a file that "ddpm train" wrote. DATA is a file (or folder) with the columns that MODEL was trained on, in
    any order. If the columns have no names, DATA must have them in the same order and no others, or --columns must
    choose them in that order. The column of classes may be missing.

    The rows of DATA are split into two halves at random. MODEL is measured on the first half. For comparison, so are
    the second half itself ("fresh data": what the best possible model would score) and a mixture of Gaussians that was
    fitted to the second half.
    """
    import ddpm
    from ddpm import model_files, table_files
    from kernels import arguments

    arguments.integer("seed", seed, 0, 2**32 - 1)
    found = model_files.load(model, backend)
    if isinstance(found, ddpm.Diffusion):
        raise ValueError(f"{model}: was trained with --tutorial; only a model trained without it can be evaluated")
    target, wanted = _wanted(found, data, columns)
    x, y, read_columns = table_files.read(data, target, wanted)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    say(table_files.described(data, len(x), read_columns))
    if not hasattr(found, "feature_names_in_") and hasattr(x, "to_numpy"):
        x = x.to_numpy()  # the model was trained without names
    try:
        evaluation = ddpm.evaluate(found, x, y, random_state=seed, progress=True)
    except ValueError as error:
        raise ValueError(f"{data}: {error}") from error
    say(evaluation)
    say("\nWasserstein-1 by column")
    width = max(map(len, evaluation.by_column))
    for name, distance in evaluation.by_column.items():
        say(f"{name:<{width}}  {distance:.3f}")
    if out is not None:
        from ddpm.commands.drawing import write_figures

        drawn = found.sample(len(x), random_state=seed)
        write_figures(found, x, y, drawn[0] if isinstance(drawn, tuple) else drawn, out, seed)
        say(f"figures are in {out}")


def _wanted(model: Any, data: Path, columns: list[str] | None) -> tuple[str | None, list[str]]:
    """Return the target or None, and all columns to read from the file, in the order of the model."""
    from ddpm import model_files, table_files
    from ddpm.table_files.csv_layout import NUMBER

    names, target = model_files.columns_of(model)
    there = list(columns or table_files.names_of(data))
    own = list(map(str, names))
    without = own if target is None else [name for i, name in enumerate(own) if i != target]
    if any(isinstance(name, str) for name in names):
        if columns is not None and (left_out := [name for name in without if name not in columns]):
            raise ValueError(f"--columns must have all columns of the model; {left_out[0]!r} is missing")
        return (None, without) if target is None or own[target] not in there else (own[target], own)
    if columns is None and any(map(NUMBER.fullmatch, there)) and list(there) != list(map(str, range(len(there)))):
        raise ValueError(f"{data}: its first row ({', '.join(there[:5])}, ...) was read as column names: remove it")
    if len(there) == len(own):
        return (None if target is None else there[target]), there
    if len(there) == len(without):
        return None, there
    raise ValueError(
        f"{data}: has {len(there)} columns, but the model was trained on {len(own)}: choose them with --columns"
    )

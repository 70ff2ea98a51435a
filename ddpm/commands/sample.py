"""`ddpm sample`: rows of a trained model, in the form of the table that it was trained on."""

from pathlib import Path
from typing import Any

import click

from ddpm.commands.options import backend_option, count, file, force_option, seed_option
from ddpm.commands.output import say

ROWS = 2**14  # that are drawn between two looks of the progress bar


@click.command()
@click.argument("model", type=file)
@click.option("--count", metavar="N", type=count, required=True, help="Number of samples.")
@click.option("--out", type=file, metavar="FILE", required=True, help="File to write, .csv, .parquet or .npy.")
@seed_option
@click.option(
    "--first",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Index of the first sample: --first 1000 continues where --count 1000 stopped.",
)
@backend_option
@force_option
def sample(model: Path, count: int, out: Path, seed: int, first: int, backend: str | None, force: bool) -> None:
    """Draw samples from a trained model.

    MODEL is the file that "ddpm train" or "ddpm demo" wrote. Samples have the columns of the table that it was trained
    on: their names, their order, whole numbers, decimals and classes (after --tutorial, their number alone). A sample
    depends on the model, the seed and its index alone, so that --first can split a long run into parts.
    """
    from ddpm import table_files
    from ddpm.files import check_output
    from ddpm.progress import progress_bar

    table_files.format_of(out)
    check_output(out, force)
    if first + count > 2**32:
        raise click.BadParameter(f"--first and --count reach {first + count}; there are 2^32 samples")

    from ddpm import model_files

    found, parts = model_files.load(model, backend), []
    table_files.check_holds(out, model_files.sample(found, 1))
    with progress_bar(count, "sample", "row", count > ROWS) as bar:
        for start in range(0, count, ROWS):
            rows = min(ROWS, count - start)
            parts.append(model_files.sample(found, rows, first + start, seed))
            bar.update(rows)
    table_files.write(out, _joined(parts))
    say(f"wrote {count} samples to {out}")


def _joined(parts: list[Any]) -> Any:
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts, ignore_index=True)
    import numpy as np

    return np.concatenate(parts)

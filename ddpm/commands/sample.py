"""`ddpm sample`: draw rows from a trained model, in the form of the table that it was trained on."""

import os
from pathlib import Path
from typing import Any

import click

from ddpm.commands.options import Shard, backend_option, count, file, force_option, seed_option
from ddpm.commands.output import say
from ddpm.torchrun import rank_and_size, use_own_gpu


@click.command()
@click.argument("model", type=file)
@click.option("--count", metavar="N", type=count, required=True, help="Number of samples.")
@click.option(
    "--out",
    metavar="FILE|DIR/",
    required=True,
    help="File to write (.csv, .parquet or .npy), or a folder for parts of at most a million rows each.",
)
@seed_option
@click.option(
    "--first",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Index of the first sample: --first 1000 continues where --count 1000 stopped.",
)
@click.option(
    "--shard",
    metavar="I/N",
    type=Shard(),
    help="Write only the I-th of N equal shares of the parts.  [default: all, or the share of this torchrun rank]",
)
@click.option(
    "--format", type=click.Choice(["parquet", "npy"]), help="Format of the parts in a folder.  [default: parquet]"
)
@backend_option
@force_option
def sample(model: Path, out: str, shard: tuple[int, int] | None, format: str | None, **options: Any) -> None:
    """Draw samples (new rows) from a trained model.

    MODEL is a file that "ddpm train" or "ddpm demo" wrote. Samples look like the table that it was trained on: the same
    column names in the same order, whole numbers, as many decimals, the same classes. (A model trained with --tutorial
    knows only the number of columns.) A sample depends only on the model, the seed and its index, so --first can split
    a long run.

    --out is a folder if its name ends in a slash, if the folder exists, or with --shard. The parts are the same for any
    number of shards. Shards can run at the same time, on one machine or many. If a run was stopped, the same command
    continues it and keeps the complete parts. With --force it writes all parts again.
    """
    rank, size = rank_and_size()
    use_own_gpu()
    if shard is None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        if not Path(out).suffix:
            raise click.UsageError(
                f"--out {out} is not a .csv, .parquet or .npy file; the name of a folder must end in a slash"
            )
        if format is not None:
            raise click.UsageError(
                f"--format can only be used with a folder, whose name ends in a slash; --out is {out}"
            )
        if size > 1:
            raise click.UsageError(
                f"{size} processes would write one file, {out}: give --out a folder, such as samples/"
            )
        _to_file(model, Path(out), options)
    else:
        # with several processes on a terminal, only one shows a progress bar
        shown = shard is not None or rank == 0
        _to_folder(model, out, shard or (rank + 1, size), format or "parquet", options | {"progress": shown})


def _to_file(model: Path, path: Path, options: dict[str, Any]) -> None:
    from ddpm.sampling import sample_to_file

    sample_to_file(model, path, progress=True, **options)
    say(f"wrote {options['count']} samples to {path}")


def _to_folder(model: Path, out: str, shard: tuple[int, int], format: str, options: dict[str, Any]) -> None:
    from ddpm.sampling import sample_to_folder
    from ddpm.table_files import SUFFIXES

    folder = Path(out)
    if folder.suffix.lower() in SUFFIXES and not out.endswith(("/", os.sep)) and not folder.is_dir():
        raise click.UsageError(f"--shard writes into a folder, but {out} is named like a file: end the name in a slash")
    written = sample_to_folder(model, folder, shard=shard, format=format, **options)
    of, to = "" if shard == (1, 1) else f" of shard {shard[0]}/{shard[1]}", f"{folder}{os.sep}"
    if not written.parts:
        say(f"nothing to do{of}: {to} has {written.of} part{'' if written.of == 1 else 's'} in all")
        return
    there = written.parts - written.new
    were = f" ({there} {'was' if there == 1 else 'were'} already there)" if there else ""
    plural = "" if written.new == 1 else "s"
    rows = f"rows {written.samples[0]} to {written.samples[-1]}"
    say(f"wrote {written.new} part{plural}{were}{of}, {rows}, to {to}")

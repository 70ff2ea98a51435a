"""`ddpm sample`: rows of a trained model, in the form of the table that it was trained on."""

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
    help="File to write, .csv, .parquet or .npy; or a folder, for parts of at most a million rows.",
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
    help="Write only the I-th of N equal shares of the parts.  [default: all, or by torchrun's rank]",
)
@click.option("--format", type=click.Choice(["parquet", "npy"]), help="Of the parts in a folder.  [default: parquet]")
@backend_option
@force_option
def sample(model: Path, out: str, shard: tuple[int, int] | None, format: str | None, **options: Any) -> None:
    """Draw samples from a trained model.

    MODEL is the file that "ddpm train" or "ddpm demo" wrote. Samples have the columns of the table that it was trained
    on: their names, their order, whole numbers, decimals and classes (after --tutorial, their number alone). A sample
    depends on the model, the seed and its index alone, so that --first can split a long run into parts.

    DIR/ ends in a slash or is there; with --shard it is always a folder. Its parts are the same for any number of
    shards, which can run at the same time, on one machine or many. The same command again goes on where one was
    stopped: it keeps the parts that are whole, or with --force writes them anew.
    """
    rank, size = rank_and_size()
    use_own_gpu()
    if shard is None and not out.endswith(("/", os.sep)) and not Path(out).is_dir():
        if not Path(out).suffix:
            raise click.UsageError(
                f"--out {out} is no .csv, .parquet or .npy file; end the name of a folder in a slash"
            )
        if format is not None:
            raise click.UsageError(f"--format goes only with a folder, which ends in a slash; --out is {out}")
        if size > 1:
            raise click.UsageError(f"{size} processes would write one file, {out}: give --out a folder, as samples/")
        _to_file(model, Path(out), options)
    else:
        # one bar alone can be read where several processes share a terminal
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
        raise click.UsageError(f"--shard writes parts into a folder, and {out} is named like a file: end it in a slash")
    written = sample_to_folder(model, folder, shard=shard, format=format, **options)
    of, to = "" if shard == (1, 1) else f" of shard {shard[0]}/{shard[1]}", f"{folder}{os.sep}"
    if not written.parts:
        say(f"nothing to do{of}: {to} has {written.of} part{'' if written.of == 1 else 's'} in all")
        return
    there = written.parts - written.new
    were = f" ({there} {'was' if there == 1 else 'were'} there)" if there else ""
    plural = "" if written.new == 1 else "s"
    rows = f"rows {written.samples[0]} to {written.samples[-1]}"
    say(f"wrote {written.new} part{plural}{were}{of}, {rows}, to {to}")

"""Options that several commands share, and types of their values."""

import csv
from pathlib import Path

import click

backend_option = click.option(
    "--backend", metavar="NAME", help="How to compute: a name that 'ddpm backends' lists.  [default: the fastest here]"
)
seed_option = click.option(
    "--seed", metavar="N", default=0, help="Seed of the random numbers. The same seed gives the same result."
)
force_option = click.option("--force", is_flag=True, help="Replace the output file if it exists.")

file = click.Path(path_type=Path)
count = click.IntRange(min=1)


class Names(click.ParamType):
    """Names of columns, separated by commas. A name that contains a comma is in quotation marks."""

    name = "names"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names as a list."""
        if isinstance(value, list):
            return value
        try:
            names = next(csv.reader([str(value)], skipinitialspace=True))
        except csv.Error as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if not names or not all(names):
            self.fail(f"{value!r} has an empty name", param, ctx)
        if len(set(names)) < len(names):
            self.fail(f"{value!r} has a name twice", param, ctx)
        return names


class Widths(click.ParamType):
    """Widths of hidden layers, separated by commas."""

    name = "widths"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the widths as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            widths = tuple(int(width) for width in str(value).split(","))
        except ValueError:
            widths = ()
        if not widths or min(widths) < 1:
            self.fail(f"{value!r} is not a width, or several separated by commas, such as 64,64", param, ctx)
        return widths


class Shard(click.ParamType):
    """One of N equal shares of the work: I/N, with I counted from 1."""

    name = "shard"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return the number of the shard and the number of shards."""
        if isinstance(value, tuple):
            return value
        i, _, n = str(value).partition("/")
        if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
            self.fail(f"{value!r} is not a shard: 64 shards are called 1/64 to 64/64", param, ctx)
        return int(i), int(n)


columns_option = click.option(
    "--columns",
    metavar="A,B,...",
    type=Names(),
    help="Use only these columns. Put a name that contains a comma in quotes.  [default: all]",
)

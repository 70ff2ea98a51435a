"""Lines for standard output."""

import os
import sys

import click


def rank() -> int:
    """Return the number of this process among those that torchrun has started; 0 where it is alone."""
    return int(os.environ.get("RANK", 0)) if "WORLD_SIZE" in os.environ else 0


def say(text: object, once: bool = False) -> None:
    """Print to standard output; where that is full or closed, to standard error from then on, with the reason.

    Of several processes that would say the same, with `once` only the first does.
    """
    if once and rank() > 0:
        return
    try:
        click.echo(text)
    except OSError as error:
        click.echo(f"ddpm: warning: standard output: {error.strerror}\n{text}", err=True)
        elsewhere = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno()
        os.dup2(elsewhere, sys.stdout.fileno())

"""Lines on standard output."""

import os
import sys

import click

from ddpm.torchrun import rank_and_size


def say(text: object, once: bool = False) -> None:
    """Print a line to standard output.

    If standard output is full or closed, this and all later lines go to standard error, after the reason. With `once`,
    only the first of several processes prints.
    """
    if once and rank_and_size()[0] > 0:
        return
    try:
        click.echo(text)
    except OSError as error:
        click.echo(f"ddpm: warning: standard output: {error.strerror}\n{text}", err=True)
        elsewhere = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno()
        os.dup2(elsewhere, sys.stdout.fileno())

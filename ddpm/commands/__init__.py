"""The `ddpm` command: one module for each subcommand.

Modules that take long to import (torch, matplotlib, scipy, scikit-learn) are imported inside the functions that use
them, so that `ddpm --help` answers at once.
"""

import os
import warnings
from collections.abc import Sequence

import click

from ddpm.commands.backends import backends
from ddpm.commands.demo import demo
from ddpm.commands.evaluate import evaluate
from ddpm.commands.info import info
from ddpm.commands.long_runs import Interrupted
from ddpm.commands.sample import sample
from ddpm.commands.train import train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, by default those of the process, and return its exit code.

    An error that the user can fix prints one line on stderr and returns 2. Any other error is a bug and is raised.
    """
    rank = os.environ.get("RANK", "")
    rank = rank if rank.isdecimal() else "0"
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            return command.main(arguments, prog_name="ddpm", standalone_mode=False) or 0
    except Interrupted as stopped:
        if rank == "0":
            click.echo(f"ddpm: {stopped.message}", err=True)
        return stopped.code
    except click.Abort:
        click.echo("ddpm: interrupted", err=True)
        return 130
    except click.ClickException as error:
        message = error.format_message()
    except OSError as error:
        # str(error) would begin with "[Errno 2]"
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (ValueError, TypeError, ImportError) as error:
        message = str(error)
    except RuntimeError as error:
        from ddpm.ranks import RankLost
        from kernels.backends import BackendUnavailable

        if not isinstance(error, BackendUnavailable | RankLost):
            raise
        message = str(error)
    place = "" if rank == "0" else f" (rank {rank})"
    click.echo(f"ddpm{place}: error: {' '.join(message.split())}", err=True)
    return 2


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"ddpm: warning: {message}", err=True)


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    import ddpm

    click.echo(f"ddpm {ddpm.__version__}")
    context.exit()


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def command(context: click.Context) -> None:
    """Learn from a table of numbers, and draw new rows like it.

    The model is a DDPM, a small diffusion model (Ho 2020). It learns the distribution of the rows.

    \b
    Run the tutorial, from data to figures:
      ddpm demo
    Use a table of your own, a .csv, .parquet or .npy file:
      ddpm train points.csv --out model.safetensors
      ddpm sample model.safetensors --count 1000 --out samples.csv
      ddpm evaluate model.safetensors fresh.csv
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for each in (demo, train, sample, evaluate, info, backends):
    command.add_command(each)

"""The command: run the benchmarks, write the report of a result, compare two results."""

import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
import torch

from benchmarks import comparison, report, rivals
from benchmarks.cases import DEVICES, OPS
from benchmarks.quality import report as quality_report
from benchmarks.quality import session
from benchmarks.quality.data import DATA
from benchmarks.quality.models import MODELS
from benchmarks.session import Session

HERE = Path(__file__).parent
result_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def command() -> None:
    """Measure how fast the backends are, beside rivals, and check that their results are the same."""


@command.command()
@click.option("--full", "size", flag_value="full", help="Vary every size, and run the tutorial itself. Takes an hour.")
@click.option("--tiny", "size", flag_value="tiny", help="Run everything once, at sizes too small to mean anything.")
@click.option("--op", "ops", type=click.Choice(OPS), multiple=True, help="Only this operation; may be repeated.")
@click.option(
    "--rival", "names", type=click.Choice(rivals.RIVALS), multiple=True, help="Only this rival; may be repeated."
)
@click.option(
    "--device",
    "devices",
    type=click.Choice(DEVICES),
    multiple=True,
    help="Only this device; may be repeated.  [default: all that are here]",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=HERE / "results", help="Folder to write into."
)
def run(size: str | None, ops: tuple[str, ...], names: tuple[str, ...], devices: tuple[str, ...], out: Path) -> None:
    """Run the benchmarks. Write the result as JSON, a table and figures, named by machine, versions and time.

    Without --full, this takes some minutes. An interrupted run keeps what it has measured.
    """
    here = DEVICES if torch.cuda.is_available() else ("cpu",)
    if "cuda" in devices and "cuda" not in here:
        raise click.BadParameter("torch finds no CUDA device", param_hint="'--device'")
    out.mkdir(parents=True, exist_ok=True)
    result = out / f"{machine_name()}_torch-{torch.__version__}_{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    options = [f"--benchmark-json={result}", "--benchmark-save-data", "--benchmark-quiet", "--benchmark-disable-gc"]
    quiet = ["-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", "-r", "fE", "-W", "default"]
    files = [str(HERE / f"bench_{op}.py") for op in ops or OPS]
    session = Session(size or "short", ops or OPS, names or rivals.RIVALS, devices or here)
    status = pytest.main([*files, *options, *quiet], plugins=[session])
    if result.exists():  # something was measured
        click.echo(report.write(result))
    sys.exit(int(status))


def machine_name() -> str:
    """Return the GPU, or the processor and the number of threads, as part of a file name."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        import cpuinfo  # comes with pytest-benchmark

        name = f"{cpuinfo.get_cpu_info().get('brand_raw', platform.machine())} {torch.get_num_threads()} threads"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@command.command("report")
@click.argument("result", type=result_file)
@click.option("--readme", is_flag=True, help="Also put tables and figures into README.md and docs/benchmarks.md.")
def write_report(result: Path, readme: bool) -> None:
    """Write the table and the figures of RESULT beside it."""
    click.echo(report.write(result))
    if readme:
        report.write_into_readme(result, HERE.parent)


@command.command()
@click.argument("before", type=result_file)
@click.argument("after", type=result_file)
def compare(before: Path, after: Path) -> None:
    """Show what got slower or faster from BEFORE to AFTER, and whether by more than noise."""
    click.echo(comparison.table(before, after))


@command.command()
@click.option("--data", type=click.Choice(DATA), multiple=True, default=DATA, help="Only this data; may be repeated.")
@click.option(
    "--model",
    "models",
    type=click.Choice(list(MODELS)),
    multiple=True,
    default=list(MODELS),
    help="Only this model; may be repeated.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=5, help="Number of draws of each distribution.  [default: 5]"
)
@click.option("--splits", type=click.IntRange(min=1), default=3, help="Number of splits of each table.  [default: 3]")
@click.option("--into", type=result_file, help="A result to continue, with the same --seeds and --splits.")
@click.option("--epochs/--no-epochs", default=True, help="Also time an epoch of a million rows.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=HERE / "quality" / "results",
    help="Folder to write into.",
)
def quality(
    data: tuple[str, ...], models: tuple[str, ...], seeds: int, splits: int, epochs: bool, into: Path | None, out: Path
) -> None:
    """Measure how good the models are, beside what people use instead. Takes an hour."""
    out.mkdir(parents=True, exist_ok=True)
    path = into or out / f"{machine_name()}_{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    session.run(path, data, models, {"distributions": seeds, "tables": splits}, epochs)
    click.echo(quality_report.write(path))


@command.command("quality-report")
@click.argument("result", type=result_file)
def write_quality_report(result: Path) -> None:
    """Put the tables of a RESULT of `quality` into docs/quality.md."""
    quality_report.write_into(HERE.parent / "docs" / "quality.md", result)


if __name__ == "__main__":
    command(prog_name="python -m benchmarks")

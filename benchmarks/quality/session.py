"""Run every model on every data set, with several seeds. Each measurement is saved at once."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks import measuring
from benchmarks.quality import epoch
from benchmarks.quality.data import TABLES, split
from benchmarks.quality.measure import floor, measure
from benchmarks.quality.models import MODELS


def run(path: Path, data: Sequence[str], models: Sequence[str], seeds: dict[str, int], epochs: bool) -> None:
    """Measure, and write the result to `path` after each measurement.

    If `path` exists, its result is continued. New measurements replace old ones of the same data, model and seed.

    Args:
        path: the JSON file of the result.
        data, models: names.
        seeds: number of seeds for the distributions, and number of splits for the tables.
        epochs: whether an epoch of a million rows is also timed.
    """
    document: dict[str, Any] = {"gaps": [], "epochs": [], "rows": []}
    if path.exists():
        document = json.loads(path.read_text())
    document |= {"machine": _machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "seeds": seeds}
    if epochs:
        document["epochs"] = [epoch.measure(model) for model in ("ours", "plain")]
    for name in data:
        for seed in range(seeds["tables" if name in TABLES else "distributions"]):
            _put(document["rows"], floor(name, seed))
            for model in models:
                if reason := _gap(name, model):
                    if [name, model, reason] not in document["gaps"]:
                        document["gaps"].append([name, model, reason])
                    continue
                row = measure(name, model, seed)
                _put(document["rows"], row)
                click.echo(
                    "  ".join(
                        f"{key} {value:.4g}" if isinstance(value, float) else str(value) for key, value in row.items()
                    )
                )
                _write(path, document)
    _write(path, document)


def _put(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    names = ("data", "model", "seed")
    rows[:] = [there for there in rows if any(there[name] != row[name] for name in names)]
    rows.append(row)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


def _gap(data: str, model: str) -> str | None:
    if not MODELS[model].is_here:
        return f"{MODELS[model].package} is not installed"
    if len(split(data, 0).train) > MODELS[model].most:
        return "takes too long for so many rows"
    return None


def _machine() -> dict[str, object]:
    import cpuinfo  # comes with pytest-benchmark

    return {"cpu": cpuinfo.get_cpu_info().get("brand_raw")} | measuring.machine()

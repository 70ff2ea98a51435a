"""Read a result: the seconds of every call for each case and rival, turn by turn."""

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.cases import Case
from kernels import backends

SIZES = [field.name for field in fields(Case)]
NOISY = 0.1  # a larger distance between the quartiles, relative to the median, is noise


@dataclass(frozen=True)
class Timed:
    """The seconds of a rival in a case: one list for each turn."""

    turns: tuple[tuple[float, ...], ...]
    notes: dict[str, Any]

    @cached_property
    def quartiles(self) -> tuple[float, float, float]:
        """The quartiles of all calls: 25, 50 and 75 %."""
        low, middle, high = np.quantile(np.concatenate(self.turns), (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)

    @property
    def median(self) -> float:
        return self.quartiles[1]

    @property
    def spread(self) -> float:
        """The distance between the quartiles, relative to the median."""
        low, middle, high = self.quartiles
        return (high - low) / middle

    def over(self, other: "Timed") -> tuple[float, float, float]:
        """Return time relative to `other`: lowest, median and highest ratio of turns measured in the same minute."""
        pairs = zip(self.turns, other.turns, strict=False)
        ratios = [statistics.median(a) / statistics.median(b) for a, b in pairs]
        return min(ratios), statistics.median(ratios), max(ratios)


@dataclass(frozen=True)
class Result:
    """The result of a run: timed[case, "" or "cold" or "warm"][rival], in the order of measurement."""

    name: str
    document: dict[str, Any]
    timed: dict[tuple[Case, str], dict[str, Timed]]

    def share(self, case: Case, rival: str) -> float | None:
        """Return the share of the ceiling that a rival reaches in a case, or None if its operations are not counted."""
        seconds = self.limit(case, rival)
        return None if seconds is None else seconds / self.timed[case, ""][rival].median

    def limit(self, case: Case, rival: str) -> float | None:
        """Return the shortest time that the machine's ceiling allows, in seconds, or None as in `share`."""
        notes, ceiling = self.timed[case, ""][rival].notes, self.document["ceilings"][case.device]
        if "operations" not in notes:
            return None
        return max(notes[what] / ceiling[what] for what in ("operations", "bytes"))

    @property
    def noisy(self) -> list[Timed]:
        """The timings whose quartiles lie far apart."""
        return [t for rivals in self.timed.values() for t in rivals.values() if t.spread > NOISY]


def read(path: Path) -> Result:
    """Read the result that a run wrote."""
    try:
        document = json.loads(path.read_text())
        grouped: dict[tuple[Case, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for entry in document["benchmarks"]:
            notes = entry["extra_info"]
            case, start = Case(**{size: notes[size] for size in SIZES}), notes["turn"]
            grouped[case, start if isinstance(start, str) else ""][notes["rival"]].append(entry)
        document["ceilings"], document["gaps"], document["machine_info"]["torch"]
    except (ValueError, KeyError, TypeError) as error:
        raise click.ClickException(f"{path} is not a result of 'python -m benchmarks run': {error!r}") from error
    timed = {
        key: {
            rival: Timed(tuple(tuple(e["stats"]["data"]) for e in entries), entries[0]["extra_info"])
            for rival, entries in by_rival.items()
        }
        for key, by_rival in grouped.items()
    }
    return Result(path.stem, document, timed)


def own(rivals: dict[str, Timed]) -> str | None:
    """Return our fastest backend that was measured, or None. All others are compared with it."""
    return next((name for name in reversed(backends.REGISTERED) if name in rivals), None)


def seconds(value: float) -> str:
    """Return a time as text: three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= 0.9995 * size:  # three digits of it round up to 1
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:.0f} {unit}"
    return f"{value / 1e-6:.3g} us"

"""Compare two results: what takes longer now, and is it more than noise?"""

from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results import Timed, seconds


def table(before: Path, after: Path) -> str:
    """Return a line for each case and rival in both results, the largest slowdown first, and whether it is noise."""
    old, new = results.read(before), results.read(after)
    lines = []
    for key in old.timed.keys() & new.timed.keys():
        for rival in old.timed[key].keys() & new.timed[key].keys():
            a, b = old.timed[key][rival], new.timed[key][rival]
            lines.append((b.median / a.median, verdict(a, b), f"{' '.join(map(str, key)).strip()}, {rival}", a, b))
    lines.sort(key=lambda line: -line[0])
    differences = [
        f"  {name}: {x} before, {y} after" for name, x, y in conditions(old.document, new.document) if x != y
    ]
    warning = ["not measured under the same conditions:", *differences, ""] if differences else []
    rows = [
        f"{ratio:6.2f}x  {word:<12}  {seconds(a.median):>8} -> {seconds(b.median):<8}  {name}"
        for ratio, word, name, a, b in lines
    ]
    beyond = sum(line[1] == "slower" for line in lines), sum(line[1] == "faster" for line in lines)
    count = f"{beyond[0]} slower and {beyond[1]} faster beyond noise, of {len(lines)} that both results have"
    return "\n".join([*warning, *rows, count])


def verdict(a: Timed, b: Timed) -> str:
    """Return "slower" or "faster" if the ranges between the quartiles do not overlap, else "within noise"."""
    if b.quartiles[0] > a.quartiles[2]:
        return "slower"
    return "faster" if b.quartiles[2] < a.quartiles[0] else "within noise"


def conditions(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return name, value before and value after of what can cause a difference, other than the code."""

    def of(document: dict[str, Any]) -> dict[str, Any]:
        info = document["machine_info"]
        return {
            "processor": info["cpu"].get("brand_raw"),
            "python": info["python_version"],
            **{name: info.get(name) for name in ("torch", "threads", "vector_instructions", "cuda")},
        }

    before, after = of(old), of(new)
    return [(name, before[name], after[name]) for name in before]

"""The figures of a result: growth of time and of memory, log-log, and the whole tutorial as bars."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import rivals
from benchmarks.cases import AXES, Case
from benchmarks.results import Result, Timed, own

INK = "#24313d"
Points = list[tuple[int, float]]
TITLES = {"N": "samples N", "T": "steps T", "D": "dimensions D", "H": "hidden units H"}


def lines(result: Result, origin: Case, axis: str, value: Callable[[Case, Timed], float | None]) -> dict[str, Points]:
    """For each rival, its values along an axis from `origin`."""
    found: dict[str, Points] = {}
    sizes = {getattr(case, axis) for case, _ in result.timed}
    for size in sorted(sizes):
        case = replace(origin, **{axis: size})
        for name, timed in result.timed.get((case, ""), {}).items():
            y = value(case, timed)
            if y is not None:
                found.setdefault(name, []).append((size, y))
    return found


def figures(result: Result, brief: bool = False) -> dict[str, Figure]:
    """By name; `brief` is what the README shows. Figures for which nothing was measured are left out."""
    drawn = {}
    for device in result.document["ceilings"]:
        suffix = "" if device == "cpu" else f"_{device}"
        ops = ("variational_bound", "reverse_process") if brief else tuple(AXES)
        axes = "".join(axis for axis in ("NT" if brief else "NTDH") if _grows(result, ops, device, axis))
        if axes:
            drawn[f"time{suffix}"] = growth(result, device, ops, axes, "seconds")
            if not brief:
                drawn[f"memory{suffix}"] = growth(result, device, ops, axes, "bytes")
        starts = {start: result.timed[key] for key in result.timed if (start := key[1]) and key[0].device == device}
        if starts:
            drawn[f"tutorial{suffix}"] = bars(starts)
    return drawn


def _grows(result: Result, ops: Sequence[str], device: str, axis: str) -> bool:
    """Whether an axis has more than its origin."""
    drawn = (lines(result, Case(op, device=device), axis, _time) for op in ops)
    return any(len(points) > 1 for by_rival in drawn for points in by_rival.values())


def _time(case: Case, timed: Timed) -> float:
    return timed.median


def _memory(case: Case, timed: Timed) -> float | None:
    return timed.notes.get("peak_extra_bytes") or None  # a logarithm has no place for 0


def growth(result: Result, device: str, ops: Sequence[str], axes: str, unit: str) -> Figure:
    """Operations down, axes across."""
    figure = Figure(figsize=(1 + 4 * len(axes), 0.6 + 3 * len(ops)), layout="constrained", dpi=120)
    grid = figure.subplots(len(ops), len(axes), squeeze=False)
    for row, op in zip(grid, ops, strict=True):
        for plot, axis in zip(row, axes, strict=True):
            if axis not in AXES[op]:
                plot.set_axis_off()
                continue
            origin = Case(op, device=device)
            for name, points in lines(result, origin, axis, _time if unit == "seconds" else _memory).items():
                color, marker = rivals.load(name).STYLE
                plot.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=4, label=name)
            if unit == "seconds":
                _draw_limit(plot, result, origin, axis)
            plot.set(xscale="log", yscale="log", xlabel=TITLES[axis], title=op.replace("_", " "))
            plot.set_ylabel(unit if plot is row[0] else "")
            plot.grid(alpha=0.25)
    handles = {label: h for plot in grid.flat for h, label in zip(*plot.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=1 + 2 * len(axes), fontsize=8)
    return figure


def _draw_limit(plot: Axes, result: Result, origin: Case, axis: str) -> None:
    def limit(case: Case, timed: Timed) -> float | None:
        ours = own(result.timed[case, ""])
        return result.limit(case, ours) if ours is not None and timed is result.timed[case, ""][ours] else None

    for points in lines(result, origin, axis, limit).values():
        plot.plot(*zip(*points, strict=True), color=INK, linestyle=":", label="our kernel at the ceiling")


def bars(starts: dict[str, dict[str, Timed]]) -> Figure:
    """Seconds of the whole tutorial, cold and warm."""
    names = list(dict.fromkeys(name for timed in starts.values() for name in timed))
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(names)), layout="constrained", dpi=120)
    plot = figure.subplots()
    for i, (start, timed) in enumerate(starts.items()):
        present = [name for name in names if name in timed]
        at = [names.index(name) + (i - 0.5) * 0.38 for name in present]
        values = [timed[name].median for name in present]
        drawn = plot.barh(at, values, 0.36, color="#2b6c99" if start == "cold" else "#e0763a", label=start)
        plot.bar_label(drawn, [f"{value:.1f} s" for value in values], padding=3, fontsize=8, color=INK)
    plot.set_yticks(range(len(names)), names)
    plot.invert_yaxis()
    plot.set(xlabel="seconds from the start of the process to its end")
    plot.set_title("The whole tutorial: 1000 training steps, 1000 samples")
    plot.margins(x=0.15)
    plot.legend(frameon=False)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)
    return figure

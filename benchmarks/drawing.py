"""The figures of a result: time and memory along each axis, and the whole tutorial."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import rivals
from benchmarks.cases import AXES, Case
from benchmarks.results import Result, Timed, own, seconds
from ddpm.figures.style import BLUE, INK, ORANGE

Points = list[tuple[int, float]]
TITLES = {"N": "samples N", "T": "steps T", "D": "dimensions D", "H": "hidden units H"}


def lines(result: Result, origin: Case, axis: str, value: Callable[[Case, Timed], float | None]) -> dict[str, Points]:
    """Return the values of each rival along an axis, with the other sizes those of `origin`."""
    found: dict[str, Points] = {}
    sizes = {getattr(case, axis) for case, _ in result.timed}
    for size in sorted(sizes):
        case = replace(origin, **{axis: size})
        for name, timed in result.timed.get((case, ""), {}).items():
            y = value(case, timed)
            if y is not None:
                found.setdefault(name, []).append((size, y))
    return found


def figures(result: Result) -> dict[str, Callable[[], Figure]]:
    """Return a function that draws each figure, by its name. One for which nothing was measured is left out."""
    drawn: dict[str, Callable[[], Figure]] = {}
    for device in result.document["ceilings"]:
        suffix = "" if device == "cpu" else f"_{device}"
        axes = "".join(axis for axis in "NTDH" if _most_points(result, device, axis) > 1)
        if axes:
            drawn[f"time{suffix}"] = partial(along_axes, result, device, axes, "seconds")
            drawn[f"memory{suffix}"] = partial(along_axes, result, device, axes, "bytes")
        starts = {start: result.timed[key] for key in result.timed if (start := key[1]) and key[0].device == device}
        if starts:
            drawn[f"tutorial{suffix}"] = partial(whole_tutorial, starts)
    return drawn


def _most_points(result: Result, device: str, axis: str) -> int:
    """Return how many sizes on an axis the rival with the most of them has."""
    drawn = (lines(result, Case(op, device=device), axis, _time) for op in AXES)
    return max((len(points) for by_rival in drawn for points in by_rival.values()), default=0)


def _time(case: Case, timed: Timed) -> float:
    return timed.median


def _memory(case: Case, timed: Timed) -> float | None:
    return timed.notes.get("peak_extra_bytes") or None  # 0 has no place on a logarithmic axis


def along_axes(result: Result, device: str, axes: str, unit: str) -> Figure:
    """Draw operations down and axes across: lines, or bars where an axis has only two sizes."""
    value = _time if unit == "seconds" else _memory
    figure = Figure(figsize=(1 + 4 * len(axes), 0.6 + 3 * len(AXES)), layout="constrained", dpi=120)
    grid = figure.subplots(len(AXES), len(axes), squeeze=False)
    for row, op in zip(grid, AXES, strict=True):
        for plot, axis in zip(row, axes, strict=True):
            if axis not in AXES[op]:
                plot.set_axis_off()
                continue
            origin = Case(op, device=device)
            by_rival = lines(result, origin, axis, value)
            plot.set_title(op.replace("_", " "))
            if max(map(len, by_rival.values()), default=0) > 2:
                _draw_lines(plot, by_rival)
                if unit == "seconds":
                    _draw_limit(plot, result, origin, axis)
                plot.set(xscale="log", yscale="log", xlabel=TITLES[axis])
                plot.set_ylabel(unit if plot is row[0] else "")
            else:
                _draw_bars(plot, _by_size(by_rival, axis), unit)
    handles = {label: h for plot in grid.flat for h, label in zip(*plot.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=1 + 2 * len(axes), fontsize=8)
    return figure


def _draw_lines(plot: Axes, by_rival: dict[str, Points]) -> None:
    for name, points in by_rival.items():
        color, marker = rivals.load(name).STYLE
        plot.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=4, label=name)
    plot.grid(alpha=0.25)


def _by_size(by_rival: dict[str, Points], axis: str) -> dict[str, dict[str, float]]:
    """Turn the lines of rivals into groups of bars, one for each size."""
    groups: dict[str, dict[str, float]] = {}
    for name, points in by_rival.items():
        for size, y in points:
            groups.setdefault(f"{axis} = {size}", {})[name] = y
    return groups


def _draw_limit(plot: Axes, result: Result, origin: Case, axis: str) -> None:
    def limit(case: Case, timed: Timed) -> float | None:
        ours = own(result.timed[case, ""])
        return result.limit(case, ours) if ours is not None and timed is result.timed[case, ""][ours] else None

    for points in lines(result, origin, axis, limit).values():
        plot.plot(*zip(*points, strict=True), color=INK, linestyle=":", label="our kernel at the ceiling")


def whole_tutorial(starts: dict[str, dict[str, Timed]]) -> Figure:
    """Draw the seconds of the whole tutorial, cold and warm."""
    groups = {start: {name: timed.median for name, timed in by_rival.items()} for start, by_rival in starts.items()}
    names = {name for by_rival in groups.values() for name in by_rival}
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(names)), layout="constrained", dpi=120)
    plot = figure.subplots()
    _draw_bars(plot, groups, "seconds")
    plot.set_xlabel("seconds from the start of the process to its end")
    plot.set_title("The whole tutorial: 1000 training steps, 1000 samples")
    plot.legend(frameon=False)
    return figure


def _draw_bars(plot: Axes, groups: dict[str, dict[str, float]], unit: str) -> None:
    """Draw rivals down, and for each rival one bar of every group, labelled with its value."""
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    for i, (group, values) in enumerate(groups.items()):
        at = [names.index(name) + (i - 0.5) * 0.38 for name in values]
        drawn = plot.barh(at, list(values.values()), 0.36, color=(BLUE, ORANGE)[i], label=group)
        texts = [seconds(v) if unit == "seconds" else f"{v / 1e6:.3g} MB" for v in values.values()]
        plot.bar_label(drawn, texts, padding=3, fontsize=8, color=INK)
    plot.set_yticks(range(len(names)), names)
    plot.invert_yaxis()
    plot.set_xlabel(unit)
    plot.margins(x=0.15)
    plot.spines[["top", "right"]].set_visible(False)

"""Figures of tables: data beside samples, the reverse process of points, and the terms of the bound."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddpm.figures.style import BINS, BLUE, GREY, INK, ORANGE, empty_figure, entitle, figure_of_one, label

MOST = 8  # columns in one figure, at most
POINTS = 5000  # points in one plot, at most
PANELS = 6  # in the figure of the reverse process


def columns_figure(data: np.ndarray, samples: np.ndarray, names: Sequence[object]) -> Figure:
    """Draw data [N, D] and samples [M, D]: one column as histograms, two side by side, more in pairs.

    The pairs form a square: histograms of each column on the diagonal, data below and samples above it. At most the
    first MOST columns and POINTS rows are shown.
    """
    if len(names) == 1:
        figure, axes = figure_of_one()
        _histograms(axes, data[:, 0], samples[:, 0])
        axes.legend(frameon=False, labelcolor=INK, fontsize=10)
        label(axes, f"Data ({len(data)} rows) and samples", _plain(names[0]), "density")
        return figure
    if len(names) == 2:
        figure = empty_figure(8, 4.2)
        plots = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, rows, colour, title in zip(plots, (data, samples), (BLUE, ORANGE), ("Data", "Samples"), strict=True):
            _points(axes, rows[:, 0], rows[:, 1], colour)
            label(axes, f"{title}, {_shown(rows)}", _plain(names[0]), _plain(names[1]) if axes is plots[0] else "")
        _limit(plots[0].set_xlim, data[:, 0], samples[:, 0])
        _limit(plots[0].set_ylim, data[:, 1], samples[:, 1])
        return figure
    return _pairs(data, samples, names)


def _pairs(data: np.ndarray, samples: np.ndarray, names: Sequence[object]) -> Figure:
    shown = min(MOST, len(names))
    figure = empty_figure(1 + 1.4 * shown, 1 + 1.4 * shown)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    plots = figure.subplots(shown, shown, sharex="col")
    for i in range(shown):
        for j in range(shown):
            axes = plots[i, j]
            if i == j:
                _histograms(axes, data[:, i], samples[:, i])
            elif j < i:
                _points(axes, data[:, j], data[:, i], BLUE)
            else:
                _points(axes, samples[:, j], samples[:, i], ORANGE)
            _limit(axes.set_xlim, data[:, j], samples[:, j])
            if i != j:
                _limit(axes.set_ylim, data[:, i], samples[:, i])
            axes.tick_params(colors=INK, labelsize=6, width=0.6, labelleft=j == 0 and i > 0, labelbottom=i == shown - 1)
            axes.locator_params(nbins=3)
            axes.spines[:].set_color(GREY)
            if i == shown - 1:
                axes.set_xlabel(_plain(names[j], 16), color=INK, fontsize=8)
            if j == 0:
                axes.set_ylabel(_plain(names[i], 16), color=INK, fontsize=8)
    of = f", the first {shown} of {len(names)} columns" if shown < len(names) else ""
    figure.suptitle(
        f"Data below the diagonal, {_shown(data)}\nSamples above it, {_shown(samples)}{of}",
        color=INK,
        fontsize=9,
        ha="left",
        x=0.02,
    )
    return figure


def strip_figure(history: np.ndarray, names: Sequence[object]) -> Figure:
    """Draw the reverse process of points, history [T+1, N, 2] from x_T to x_0, at PANELS evenly spaced steps."""
    figure = empty_figure(10, 2.3)
    plots = figure.subplots(1, PANELS, sharex=True, sharey=True, squeeze=False)[0]
    last = len(history) - 1
    for axes, at in zip(plots, np.linspace(0, last, PANELS).round().astype(int), strict=True):
        _points(axes, history[at, :, 0], history[at, :, 1], ORANGE if at == last else GREY)
        entitle(axes, f"$t = {last - at}$")
        axes.set_xlabel(_plain(names[0], 16), color=INK, fontsize=9)
        axes.tick_params(colors=INK, labelsize=8, width=0.8)
        axes.spines[:].set_color(GREY)
    plots[0].set_ylabel(_plain(names[1], 16), color=INK, fontsize=9)
    _limit(plots[0].set_xlim, history[0, :, 0], history[-1, :, 0])
    _limit(plots[0].set_ylim, history[0, :, 1], history[-1, :, 1])
    return figure


def terms_figure(terms: np.ndarray) -> Figure:
    """Draw the terms of the bound, [T+1] in nats a row: those of t = 1 ... T, then that of x_T (Ho 2020, Eq. 5).

    Only the divergences of t = 2 ... T are drawn as a curve, because they are never negative. The others are printed.
    """
    figure, axes = figure_of_one()
    marker = "." if len(terms) < 50 else None
    axes.plot(np.arange(2, len(terms)), terms[1:-1], color=ORANGE, linewidth=1.4, marker=marker)
    axes.set_yscale("log")
    axes.set_xlim(0, len(terms))
    said = {"$t = 1$": terms[0], "$t = 2$ to $T$": terms[1:-1].sum(), "$x_T$": terms[-1], "all": terms.sum()}
    text = ",   ".join(f"{name}: {nats:.3f}".replace("-", "\N{MINUS SIGN}") for name, nats in said.items())
    axes.text(1, 1.02, f"{text} nats", transform=axes.transAxes, ha="right", va="bottom", color=INK, fontsize=9)
    label(axes, "The bound by its terms", "step $t$", "nats a row")
    return figure


def _histograms(axes: Axes, data: np.ndarray, samples: np.ndarray) -> None:
    """Draw the histograms of both, with the same bins."""
    wanted = min(BINS, 2 * math.ceil(math.sqrt(min(len(data), len(samples)))))
    bins = np.histogram_bin_edges(np.concatenate((data, samples)), wanted).tolist()
    axes.hist(data, bins, density=True, color=BLUE, alpha=0.5, label="data")
    axes.hist(samples, bins, density=True, color=ORANGE, histtype="step", linewidth=1.2, label="samples")


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Draw at most POINTS points. The more points, the fainter they are."""
    every = slice(None, None, -(-len(x) // POINTS))
    few = min(1.0, 60 / len(x[every]) ** 0.7)
    axes.scatter(x[every], y[every], s=6 if few == 1 else 3, color=colour, alpha=max(0.15, few), linewidths=0)


def _limit(set_limits: object, *values: np.ndarray) -> None:
    """Set limits that leave out the outermost thousandth at each end."""
    assert callable(set_limits)
    low, high = np.quantile(np.concatenate(values), (0.001, 0.999))
    room = 0.05 * (high - low) or 0.5
    set_limits(low - room, high + room)


def _shown(rows: np.ndarray) -> str:
    step = -(-len(rows) // POINTS)
    drawn = -(-len(rows) // step)
    return f"{len(rows)} rows" if step == 1 else f"{drawn} of {len(rows)} rows"


def _plain(name: object, most: int = 60) -> str:
    """Return a name on one line, cut to `most` characters, with dollar signs escaped for matplotlib."""
    text = " ".join(str(name).split())
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return text.replace("$", "\\$")

"""The figures of the tutorial."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ddpm.figures.style import BINS, BLUE, GREY, INK, ORANGE, empty_figure, entitle, figure_of_one, label

SIDEWAYS: dict[str, Any] = {"orientation": "horizontal", "alpha": 0.75, "histtype": "stepfilled"}


def data_figure(x0: np.ndarray) -> Figure:
    """Draw a histogram of the data, x0 [N]."""
    figure, axes = figure_of_one()
    axes.hist(x0, BINS, density=True, color=BLUE, alpha=0.75)
    label(axes, f"The data: {len(x0)} points", "$x_0$", "density")
    return figure


def forward_figure(trajectory: np.ndarray, shown: int = 100) -> Figure:
    """Draw the forward process: the first `shown` trajectories of [T+1, N], and beside them all N values of x_T."""
    figure, axes, margin = _figure_with_margin()
    steps = np.arange(len(trajectory))
    axes.add_collection(_lines(steps, trajectory[:, :shown], [BLUE]))
    axes.set(xlim=(0, steps[-1]), ylim=_limits(trajectory))
    label(axes, f"Forward process: {min(shown, trajectory.shape[1])} trajectories", "step $t$", "$x_t$")
    margin.hist(trajectory[-1], BINS, density=True, color=GREY, **SIDEWAYS)
    normal = np.linspace(*axes.get_ylim(), 400)
    margin.plot(np.exp(-(normal**2) / 2) / np.sqrt(2 * np.pi), normal, color=INK, linewidth=1.4)
    entitle(margin, r"$x_T$ and $\mathcal{N}(0, 1)$")
    return figure


def loss_figure(bounds: np.ndarray, entropy: float) -> Figure:
    """Draw the variational bound [steps] in nats in training, and the entropy, which is its lower limit.

    More than 1000 iterations use minibatches, so the curve then shows means over several iterations.
    """
    figure, axes = figure_of_one()
    some = len(bounds) // 250 if len(bounds) > 1000 else 1
    whole = bounds[: len(bounds) // some * some]
    axes.plot(np.arange(some - 1, len(whole), some), whole.reshape(-1, some).mean(1), color=ORANGE, linewidth=1.2)
    axes.axhline(entropy, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    # a density can exceed 1, so the bound and the entropy can be negative
    axes.set_yscale("log" if min(bounds.min(), entropy) > 0 else "symlog")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0, len(bounds))
    axes.annotate(
        f"entropy of the data, {entropy:.2f} nats",
        (len(bounds), entropy),
        xytext=(-4, -5),
        textcoords="offset points",
        ha="right",
        va="top",
        color=INK,
        fontsize=10,
    )
    axes.margins(y=0.12)
    means = f", means of {some} iterations" if some > 1 else ""
    label(axes, f"Variational bound in training{means}", "training iteration", "bound (nats)")
    return figure


def reverse_figure(history: np.ndarray, shown: int = 200) -> Figure:
    """Draw the reverse process, history [T+1, N] from x_T to x_0, coloured by the sign of x_0.

    The first `shown` trajectories are drawn, and beside them all N values of x_0.
    """
    figure, axes, margin = _figure_with_margin()
    steps = np.arange(len(history))[::-1]
    drawn = history[:, :shown]
    # one collection for both colours, so that neither is drawn over the other
    axes.add_collection(_lines(steps, drawn, [ORANGE if end > 0 else BLUE for end in drawn[-1]]))
    axes.set(xlim=(steps[0], 0), ylim=_limits(history))  # time runs from noise, left, to data, right
    label(axes, f"Reverse process: {drawn.shape[1]} trajectories", "step $t$", "$x_t$")
    x0 = history[-1]
    margin.hist([x0[x0 <= 0], x0[x0 > 0]], BINS, color=[BLUE, ORANGE], **SIDEWAYS)
    entitle(margin, "$x_0$")
    return figure


def samples_figure(samples: np.ndarray, x: np.ndarray, density: np.ndarray) -> Figure:
    """Draw a histogram of the samples [N], and over it the true density at the points x, both [M]."""
    figure, axes = figure_of_one()
    axes.hist(samples, BINS, density=True, color=ORANGE, alpha=0.75, label=f"{len(samples)} samples of the model")
    axes.plot(x, density, color=INK, linewidth=1.8, label="true density")
    axes.set_xlim(x[0], x[-1])
    axes.legend(frameon=False, loc="upper left", labelcolor=INK, fontsize=10)
    label(axes, "The samples", "$x_0$", "density")
    return figure


def _figure_with_margin() -> tuple[Figure, Axes, Axes]:
    figure = empty_figure()
    axes, margin = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
    margin.set_axis_off()
    return figure, axes, margin


def _lines(steps: np.ndarray, trajectories: np.ndarray, colours: list[str]) -> LineCollection:
    """Return all trajectories [T+1, n] as one artist, which is drawn much faster than n lines."""
    segments = np.stack([np.broadcast_to(steps[:, None], trajectories.shape), trajectories], axis=-1)
    return LineCollection(list(segments.swapaxes(0, 1)), colors=colours, linewidths=0.6, alpha=0.35)


def _limits(values: np.ndarray) -> tuple[float, float]:
    room = 0.03 * float(np.ptp(values))
    return float(values.min()) - room, float(values.max()) + room

"""Colours, sizes and labels of all figures. Without pyplot, a `Figure` needs no display and no global state."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#24313d"  # text, axes
GREY = "#8b97a3"  # noise
BLUE = "#2b6c99"  # data, and trajectories that end below zero
ORANGE = "#e0763a"  # the model, and trajectories that end above zero
BINS = 50


def empty_figure(width: float = 8, height: float = 4) -> Figure:
    """Return an empty figure of a size in inches. The default is 1280 x 640 pixels, about 800 x 400 in a README."""
    return Figure(figsize=(width, height), dpi=160, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))


def figure_of_one() -> tuple[Figure, Axes]:
    """Return a figure with one plot."""
    figure = empty_figure()
    return figure, figure.subplots()


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Name a plot and its axes."""
    entitle(axes, title)
    axes.set_xlabel(x, color=INK, fontsize=11)
    axes.set_ylabel(y, color=INK, fontsize=11)
    axes.tick_params(colors=INK, labelsize=10, width=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)


def entitle(axes: Axes, title: str) -> None:
    """Put a title above the left end of a plot."""
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=10)

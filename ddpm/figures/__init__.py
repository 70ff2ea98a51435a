"""Draw arrays as matplotlib `Figure` objects."""

from ddpm.figures.tables import columns_figure, strip_figure, terms_figure
from ddpm.figures.tutorial import data_figure, forward_figure, loss_figure, reverse_figure, samples_figure

__all__ = [
    "columns_figure",
    "data_figure",
    "forward_figure",
    "loss_figure",
    "reverse_figure",
    "samples_figure",
    "strip_figure",
    "terms_figure",
]

"""Figures that compare a model of a table with data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ddpm import figures
from ddpm.classes import draw, index_of, log_shares, one_hot
from ddpm.files import atomic_path
from ddpm.tables import as_array
from ddpm.terms import bound_terms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ddpm.estimator import DDPM

ROWS = 1000  # at most, for the mean of the bound's terms, and in reverse.png


def write_figures(model: "DDPM", x: Any, y: Any, samples: Any, out: Path, seed: int) -> None:
    """Write columns.png, terms.png and, for two columns, reverse.png into a folder.

    terms.png is left out if the model was fitted to classes and `y` is None.

    Args:
        model: a fitted model.
        x, y: data [N, D], and its classes or None.
        samples: samples of the model, [M, D].
        out: an existing folder.
        seed: seed of the random numbers.
    """
    rows, drawn = (np.asarray(as_array(table), dtype=np.float64) for table in (x, samples))
    of_frame = list(x.columns) if hasattr(x, "columns") else range(rows.shape[1])
    names = [name if isinstance(name, str) else f"column {name}" for name in of_frame]
    save(figures.columns_figure(rows, drawn, names), out / "columns.png")
    has_classes = hasattr(model, "classes_")
    if y is not None or not has_classes:
        terms = _terms(model, rows[:ROWS], None if y is None else y[:ROWS], seed)
        save(figures.terms_figure(terms), out / "terms.png")
    if len(names) == 2:
        count = min(ROWS, len(rows))
        shown = draw(model.class_counts_, count, 0, seed) if has_classes else None
        condition = None if shown is None else one_hot(shown, len(model.classes_))
        with torch.no_grad():
            history = model.diffusion_.sample(count, seed=seed, history=True, condition=condition)
        states = np.stack([model.transform_.inverse_transform(z.double().cpu().numpy()) for z in history])
        save(figures.strip_figure(states, names), out / "reverse.png")


def _terms(model: "DDPM", rows: np.ndarray, y: Any, seed: int) -> np.ndarray:
    """Return the terms of the bound in the units of the columns. The term of t = 1 includes that of the classes."""
    condition, shares = None, 0.0
    if y is not None:
        index = index_of(y, model.classes_, len(y))
        condition = one_hot(index, len(model.classes_))
        shares = float(log_shares(model.class_counts_)[index].mean())
    z = torch.from_numpy(model.transform_.transform(rows))
    terms = bound_terms(model.diffusion_, z, seed=seed, condition=condition).numpy()
    terms[0] -= shares + float(model.transform_.log_jacobian(rows).mean())
    return terms


def save(figure: "Figure", path: Path) -> None:
    """Write a figure to a file, completely or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary)

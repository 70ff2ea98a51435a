"""Model files of both kinds: models of tables (ddpm.DDPM) and of plain points (ddpm.Diffusion)."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm import checkpoint
from ddpm.diffusion import Diffusion
from ddpm.table_files import Columns
from kernels.backends import device_type_for

if TYPE_CHECKING:
    from ddpm.estimator import DDPM


def load(path: str | os.PathLike[str], backend: str | None = None) -> Any:
    """Read a ddpm.DDPM or a ddpm.Diffusion from a file; a Diffusion moves to the device that the backend is for.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a model of this library.
        ImportError: the model is of a table, and scikit-learn is not installed.
    """
    diffusion, parts = checkpoint.load_with_parts(path, backend)
    if checkpoint.TABLE in parts:
        from ddpm import DDPM, estimator_files

        return estimator_files.of_parts(DDPM, path, backend, diffusion, parts)
    checkpoint.refuse_checkpoint(path, parts)
    return diffusion.to(device_type_for(backend))


def sample(model: Any, count: int, first: int = 0, seed: int = 0) -> Any:
    """Return samples first ... first + count - 1 of a model, with the columns of the file that it was trained on.

    They are an array [count, D], or a DataFrame if that file had column names or classes.

    Raises:
        ValueError: the samples are not finite, or first + count is above 2^48.
    """
    if isinstance(model, Diffusion):
        points = model.sample(count, seed=seed, first=first).detach().cpu().numpy()
        if not np.isfinite(points).all():
            raise ValueError("the samples are not finite: the weights of the model are not finite, or too large")
        return points
    drawn = model.sample(count, first=first, random_state=seed)
    if not isinstance(drawn, tuple):
        return drawn
    import pandas as pd

    rows, classes = drawn
    frame = rows if hasattr(rows, "iloc") else pd.DataFrame(np.asarray(rows))
    columns = columns_of(model)
    assert columns.target is not None
    frame.columns = [name for place, name in enumerate(columns.names) if place != columns.target]
    frame.insert(columns.target, columns.names[columns.target], classes)
    return frame


def columns_of(model: "DDPM") -> Columns:
    """Return the columns of the file that a model was trained on.

    For a model that was not trained on a file, return the columns of its data, then a class column if it has classes.
    """
    found: Columns | None = getattr(model, "columns_", None)
    if found is not None:
        return found
    names: tuple[Any, ...] = model._table.names or tuple(range(model.n_features_in_))
    if not hasattr(model, "classes_"):
        return Columns(names, None)
    texts = set(map(str, names))
    own = next(name for name in ("class", *(f"class_{i}" for i in range(len(names) + 1))) if name not in texts)
    return Columns((*names, own if model._table.names else len(names)), len(names))

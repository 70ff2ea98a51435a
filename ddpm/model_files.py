"""Model files of either kind: of a table (ddpm.DDPM), or of points as they are (ddpm.Diffusion)."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm import checkpoint
from ddpm.diffusion import Diffusion
from kernels.backends import device_type_for

if TYPE_CHECKING:
    from ddpm.estimator import DDPM


def load(path: str | os.PathLike[str], backend: str | None = None) -> Any:
    """Read a ddpm.DDPM, or a ddpm.Diffusion on the device that the backend is for.

    Raises:
        FileNotFoundError, ValueError: no such file, or none of ours.
        ImportError: it is of a table, and scikit-learn is not installed.
    """
    if not checkpoint.describe(path)["table"]:
        return checkpoint.load(path, backend).to(device_type_for(backend))
    import ddpm

    return ddpm.DDPM.load(path, backend)


def sample(model: Any, count: int, first: int = 0, seed: int = 0) -> Any:
    """Return rows first ... first + count - 1 of a model, with the columns of the file that it was trained on.

    An array [count, D], or a DataFrame where that had names or classes.
    """
    if isinstance(model, Diffusion):
        return model.sample(count, seed=seed, first=first).detach().cpu().numpy()
    drawn = model.sample(count, first=first, random_state=seed)
    if not isinstance(drawn, tuple):
        return drawn
    import pandas as pd

    rows, classes = drawn
    frame = rows if hasattr(rows, "iloc") else pd.DataFrame(np.asarray(rows))
    place, name = target_of(model)
    named = any(isinstance(each, str) for each in frame.columns)
    frame.insert(place, name if named else int(name), classes)
    return frame


def columns_of(model: "DDPM") -> list[str]:
    """Return the columns of the file that a model was trained on, as `table_files.read` calls them."""
    known = list(model._table.names or range(model.n_features_in_))
    columns = getattr(model, "columns_", None) or ([*known, "class"] if hasattr(model, "classes_") else known)
    return list(map(str, columns))


def target_of(model: "DDPM") -> tuple[int, str]:
    """Return place and name of the column of classes in the file that a model was trained on."""
    known = list(map(str, model._table.names or range(model.n_features_in_)))
    return next((place, name) for place, name in enumerate(columns_of(model)) if name not in known)

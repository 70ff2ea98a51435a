"""Files of an estimator: a model file with the parameters, the kind of table and the transform of its columns."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ddpm import checkpoint
from ddpm.classes import check_classes
from ddpm.files import one_line
from ddpm.networks import GaussianMLP
from ddpm.table_files import Columns
from ddpm.tables import DECIMALS, Table
from ddpm.transforms import TableTransform
from kernels import arguments

if TYPE_CHECKING:
    from ddpm.diffusion import Diffusion
    from ddpm.estimator import DDPM


def save(model: "DDPM", path: str | os.PathLike[str]) -> None:
    """Write a fitted model; see DDPM.save."""
    table = model._table
    said = {
        "params": {name: _in_json(value) for name, value in model.get_params().items()},
        "scaling": model.transform_.kind,
        "whiten": model.transform_.whiten,
        "table": {
            "kind": table.kind,
            "dtypes": table.dtypes,
            "names": None if table.names is None else [_plain(name) for name in table.names],
            "decimals": table.decimals,
        },
        "classes": model.classes_.tolist() if hasattr(model, "classes_") else None,
        "columns": getattr(model, "columns_", None),
    }
    arrays = {**model.transform_.state(), "losses": model.losses_, "lowest": model._low, "highest": model._high}
    if hasattr(model, "classes_"):
        arrays["class_counts"] = model.class_counts_
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    checkpoint.save(model.diffusion_, path, parts={checkpoint.TABLE: (said, tensors)})


def load(kind: type["DDPM"], path: str | os.PathLike[str], backend: str | None) -> "DDPM":
    """Read a model; see DDPM.load."""
    return of_parts(kind, path, backend, *checkpoint.load_with_parts(path, backend))


def of_parts(
    kind: type["DDPM"],
    path: str | os.PathLike[str],
    backend: str | None,
    diffusion: "Diffusion",
    parts: dict[str, checkpoint.Part],
) -> "DDPM":
    """Return the estimator from what checkpoint.load_with_parts has read.

    Raises:
        ValueError: the file is not a model of a table, or is not complete.
    """
    checkpoint.refuse_checkpoint(path, parts)
    if checkpoint.TABLE not in parts:
        raise ValueError(f"{os.fspath(path)!r} has no table: it was written by ddpm.save; use ddpm.load")
    try:
        return _restored(kind, backend, diffusion, *parts[checkpoint.TABLE])
    except (LookupError, TypeError, ValueError) as error:  # parts are missing, or do not fit
        raise ValueError(f"{os.fspath(path)!r} is not a complete model of a table: {one_line(error)}") from error


def _restored(
    kind: type["DDPM"], backend: str | None, diffusion: "Diffusion", said: dict[str, Any], tensors: dict[str, Any]
) -> "DDPM":
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    params: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in said["params"].items()}
    found = kind(**params | {"backend": backend})
    found.diffusion_, found.losses_ = diffusion, arrays.pop("losses")
    found._low, found._high = arrays.pop("lowest"), arrays.pop("highest")
    if said["classes"] is not None:
        found.classes_, found.class_counts_ = np.array(said["classes"]), arrays.pop("class_counts")
        check_classes(found.classes_, found.class_counts_)
    found.transform_ = TableTransform(said["scaling"], said["whiten"]).restore(arrays)
    found.n_features_in_ = len(found.transform_.constant)
    table = said["table"]
    names, decimals = table["names"], table.get("decimals") or [None] * found.n_features_in_  # older files lack these
    found._table = Table(
        table["kind"], tuple(table["dtypes"]), None if names is None else tuple(names), tuple(decimals)
    )
    if said.get("columns") is not None:
        names_in_file, target = said["columns"]
        found.columns_ = Columns(tuple(names_in_file), target)
    if names is not None and all(isinstance(name, str) for name in names):
        found.feature_names_in_ = np.asarray(names, dtype=object)
    _check_table(found)
    _check_arrays(found)
    return found


def _check_table(model: "DDPM") -> None:
    """Raise ValueError unless the table, its transform, its classes and the network fit one another."""
    columns, classes = model.n_features_in_, len(getattr(model, "classes_", ()))
    network, table = model.diffusion_.network, model._table
    assert isinstance(network, GaussianMLP)
    in_frame = columns if table.kind == "frame" else 0
    counts = {
        "columns of the network": (network.dim, model.transform_.dim),
        "classes of the network": (network.condition_dim, classes),
        "dtypes": (len(table.dtypes), in_frame or 1),
        "names": (len(table.names or ()), in_frame),
        "decimals": (len(table.decimals), columns),
    }
    if hasattr(model, "columns_"):
        names, target = model.columns_
        counts["columns of the file"] = (len(names), columns + bool(classes))
        if (target is None) != (classes == 0) or not 0 <= (target or 0) < len(names):
            raise ValueError(f"target must be one of {len(names)} columns, or null without classes; got {target}")
    for name, (found, expected) in counts.items():
        if found != expected:
            raise ValueError(f"it must have {expected} {name}; got {found}")
    for decimals in table.decimals:
        if decimals is not None:
            arguments.integer("decimals", decimals, 0, DECIMALS)


def _check_arrays(model: "DDPM") -> None:
    """Raise ValueError unless the ranges of the columns and the losses have valid shapes, dtypes and values."""
    for bound in (model._low, model._high):
        if bound.shape != (model.n_features_in_,) or bound.dtype != np.float64 or not np.isfinite(bound).all():
            raise ValueError(f"lowest and highest must be finite float64 [{model.n_features_in_}]")
    if not (model._low <= model._high).all():
        raise ValueError("lowest must not be above highest")
    if model.losses_.ndim != 1 or model.losses_.dtype != np.float32:
        raise ValueError(f"losses must be float32 [steps]; got {model.losses_.dtype} {list(model.losses_.shape)}")


def _in_json(value: Any) -> Any:
    """Return a parameter as JSON can hold it; a RandomState becomes None."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_in_json(each) for each in value]


def _plain(name: Any) -> str | int:
    """Return the name of a column as JSON can hold it."""
    return int(name) if isinstance(name, int | np.integer) and not isinstance(name, bool) else str(name)

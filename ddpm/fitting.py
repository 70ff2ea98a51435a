"""The fit of an estimator: its transform and its network; a fit that fails changes nothing."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ddpm import ranks as processes
from ddpm.batches import Rows
from ddpm.checkpoints import Checkpoints
from ddpm.defaults import Defaults
from ddpm.diffusion import Diffusion
from ddpm.identity import digest, digests
from ddpm.networks import GaussianMLP
from ddpm.schedule import Schedule
from ddpm.tables import Array, collapsed
from ddpm.training import train
from ddpm.transforms import KINDS, TableTransform
from kernels import arguments

if TYPE_CHECKING:
    from ddpm.estimator import DDPM


@contextlib.contextmanager
def all_or_nothing(model: "DDPM") -> Iterator[None]:
    """Restore a model if an error ends its fit, or if an interrupt ends it before training begins.

    An interrupt during training leaves the model with what it has learned so far.
    """
    before = dict(model.__dict__)
    try:
        yield
    except BaseException as error:
        begun = model.__dict__.get("diffusion_") is not before.get("diffusion_")
        if isinstance(error, Exception) or not begun:
            model.__dict__.clear()
            model.__dict__.update(before)
        raise


def fit_transform(model: "DDPM", x: Array, defaults: Defaults) -> None:
    """Fit `model.transform_` to rows x [N, columns].

    Raises:
        TypeError, ValueError: a bad parameter of the model, or no column that varies.
    """
    kind, whiten = _chosen(model, "scaling", defaults), _chosen(model, "whiten", defaults)
    if not isinstance(whiten, bool | np.bool_):
        raise TypeError(f"whiten must be a bool or 'auto'; got {whiten!r}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"scaling must be one of {', '.join(KINDS)}, 'auto' or None; got {kind!r}")
    model.transform_ = TableTransform(kind, bool(whiten)).fit(x)
    _warn_of_collapse(model, x)


def fit_network(
    model: "DDPM", seen: Rows, unseen: Rows | None, defaults: Defaults, seed: int, checkpoints: Checkpoints | None
) -> None:
    """Train `model.diffusion_`, a new network, on transformed rows, [N, dim] float32, and their classes.

    Args:
        model: an estimator with a fitted transform.
        seen, unseen: the rows for training and for validation.
        defaults: values of the parameters that are "auto".
        seed: seed of the weights and of the noise.
        checkpoints: see ddpm.train.

    Raises:
        TypeError, ValueError: a bad parameter of the model.
        FloatingPointError: the loss is not finite.
    """
    _check_ranks(model)
    chosen = {name: _chosen(model, name, defaults) for name in ("hidden", "timesteps", "features", "steps")}
    schedule = Schedule.log_snr(arguments.integer("timesteps", chosen["timesteps"], 2, 2**18))
    network = GaussianMLP(
        model.transform_.dim,
        chosen["hidden"],
        activation="silu",
        features=chosen["features"],
        preconditioned=schedule,
        shared=True,
        condition_dim=0 if seen.condition is None else seen.condition.shape[1],
        dropout=model.dropout,
        seed=seed,
    )
    model.diffusion_ = Diffusion(network, schedule, model.backend)
    model.losses_ = np.zeros(0, dtype=np.float32)  # stays empty if an interrupt ends training early
    steps = arguments.integer("steps", chosen["steps"], 1, 2**32 - 1)
    result = train(
        model.diffusion_,
        seen.x0,
        steps,
        lr=model.learning_rate,
        weight_decay=_chosen(model, "weight_decay", defaults),
        seed=seed,
        progress=bool(model.verbose),
        condition=seen.condition,
        batch_size=batch_size_of(model, defaults, len(seen.x0)),
        draws=model.draws,
        closed_form=True,
        warmup_steps=50,
        cosine_steps=steps,
        ema_decay=model.ema_decay,
        validation=unseen,
        validate_every=max(1, steps // 20),
        checkpoints=checkpoints,
    )
    model.losses_ = result.losses.numpy()


def _check_ranks(model: "DDPM") -> None:
    """Check that all processes of a group have read the same table.

    Raises:
        RanksDiffer: they have read different tables.
    """
    with processes.current() as ranks:
        if ranks is None:
            return
        arrays = (*model.transform_.state().values(), model._low, model._high)
        classes = [str(name) for name in getattr(model, "classes_", ())]
        counts = [int(count) for count in getattr(model, "class_counts_", ())]
        numbers = digest([torch.from_numpy(np.ascontiguousarray(array)) for array in arrays])
        said = {"the table": [numbers, list(map(str, model._table.names or ())), classes, counts]}
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        processes.same(ranks, digests(said), torch.device(device))


def check_repeatable(model: "DDPM", checkpoints: Checkpoints | None) -> None:
    """Check that a fit with checkpoints, or in several processes, always begins with the same random numbers.

    Raises:
        ValueError: random_state is not an int.
    """
    if checkpoints is None and not processes.is_group():
        return
    if isinstance(model.random_state, bool) or not isinstance(model.random_state, int | np.integer):
        why = "keeps checkpoints" if checkpoints is not None else "runs in several processes"
        raise ValueError(f"random_state must be an int for a fit that {why}; got {model.random_state!r}")


def batch_size_of(model: "DDPM", defaults: Defaults, rows: int) -> int:
    """Return the number of rows of a batch; it is at most `rows`, the number of all rows."""
    return min(arguments.integer("batch_size", _chosen(model, "batch_size", defaults), 1, 2**32 - 1), rows)


def _chosen(model: "DDPM", name: str, defaults: Defaults) -> Any:
    value = getattr(model, name)
    return getattr(defaults, name) if isinstance(value, str) and value == "auto" else value


def _warn_of_collapse(model: "DDPM", x: Array) -> None:
    """Warn of columns whose different numbers become equal in float32, in which the network computes."""
    varies = ~model.transform_.constant
    single = ((x[:, varies] - model.transform_.center) / model.transform_.spread).astype(np.float32)
    names = np.array(model._table.names or range(x.shape[1]), dtype=object)[varies]
    for name, before, after in collapsed(x[:, varies], single, names):
        warnings.warn(f"column {name} has {before} different numbers, but in float32 only {after}", stacklevel=5)

"""A DDPM of a table, as a scikit-learn estimator."""

import os
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ddpm import estimator_files, fitting
from ddpm.batches import Rows, permutation
from ddpm.checkpoints import Checkpoints
from ddpm.classes import classes_of, draw, index_of, log_shares, one_hot
from ddpm.defaults import Defaults
from ddpm.likelihood import log_likelihood
from ddpm.tables import Array, Table, as_array
from kernels import arguments
from kernels.place import MOST_SAMPLES

Auto = Literal["auto"]


class DDPM(DensityMixin, BaseEstimator):
    """A denoising diffusion probabilistic model of the rows of a table (Ho 2020), as a scikit-learn estimator.

    A parameter that is "auto" is chosen by the shape of the data alone. The model computes on the CPU.

    Parameters
    ----------
    hidden : tuple of int or "auto", default="auto"
        Widths of the hidden layers, which mean and standard deviation share.
    timesteps : int or "auto", default="auto"
        T, the number of steps of the forward process. They are evenly spaced in log-SNR.
    steps : int or "auto", default="auto"
        Number of training iterations. Each updates the weights once.
    batch_size : int or "auto", default="auto"
        Number of rows per iteration.
    draws : int, default=4
        Number of terms of the bound that are drawn for each row in an iteration.
    learning_rate : float, default=0.01
        Learning rate of AdamW. It rises during the first 50 iterations, and falls to 0 along half a cosine.
    weight_decay : float or "auto", default="auto"
        Weight decay of AdamW.
    ema_decay : float, default=0.995
        Decay of the moving average of the weights. The fitted model uses this average.
    features : tuple of float or "auto", default="auto"
        Frequencies of Fourier features of the scaled columns.
    dropout : float, default=0.0
        Share of the hidden units that are left out at random in training. Dropout makes training about ten times
        slower.
    scaling : {"standard", "power", "quantile", "auto"} or None, default="auto"
        Transform of each column. "standard": to mean 0 and standard deviation 1. "power": the same, after the transform
        of Yeo and Johnson (2000). "quantile": to a normal distribution, by the quantiles. None: no transform.
    whiten : bool or "auto", default="auto"
        Whether to make the columns uncorrelated after the scaling.
    validation_fraction : float, default=0.0
        Share of the rows, at most 0.5, that are held out for validation. The fitted model uses the weights that are
        best on these rows.
    backend : str or None, default=None
        Name of a backend (see `ddpm.backends`), or None for the best that can run.
    random_state : int, RandomState instance or None, default=None
        Seed of all random numbers in `fit`.
    verbose : bool, default=False
        Whether to show a progress bar, if standard error is a terminal.

    Attributes
    ----------
    diffusion_ : ddpm.Diffusion
        The model of the transformed columns.
    transform_ : ddpm.transforms.TableTransform
        The transform of the columns.
    losses_ : ndarray of shape (steps,)
        The loss of each iteration, float32; empty if training was interrupted.
    classes_ : ndarray
        The classes, if `fit` got classes.
    class_counts_ : ndarray
        The number of rows of each class.
    n_features_in_ : int
        The number of columns.
    feature_names_in_ : ndarray
        The names of the columns, if all of them are strings.
    columns_ : ddpm.table_files.Columns
        The columns of the file, with that of the classes; only for a model of the command `ddpm train`.
    """

    def __init__(
        self,
        hidden: Iterable[int] | Auto = "auto",
        *,
        timesteps: int | Auto = "auto",
        steps: int | Auto = "auto",
        batch_size: int | Auto = "auto",
        draws: int = 4,
        learning_rate: float = 1e-2,
        weight_decay: float | Auto = "auto",
        ema_decay: float = 0.995,
        features: Iterable[float] | Auto = "auto",
        dropout: float = 0.0,
        scaling: str | None = "auto",
        whiten: bool | Auto = "auto",
        validation_fraction: float = 0.0,
        backend: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.timesteps = timesteps
        self.steps = steps
        self.batch_size = batch_size
        self.draws = draws
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.ema_decay = ema_decay
        self.features = features
        self.dropout = dropout
        self.scaling = scaling
        self.whiten = whiten
        self.validation_fraction = validation_fraction
        self.backend = backend
        self.random_state = random_state
        self.verbose = verbose

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a safetensors file.

        An existing file is replaced in one step: it is never half written.

        Parameters
        ----------
        path : str or path
            The file to write. `load` reads it.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        check_is_fitted(self)
        estimator_files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> "DDPM":
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path
            The file to read.
        backend : str or None, default=None
            Name of a backend (see `ddpm.backends`), or None for the best that can run.

        Returns
        -------
        DDPM
            The fitted model.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            There is no such file.
        ValueError
            The file is truncated or changed, or is not a model that `save` wrote.
        RuntimeError
            The backend cannot run here.
        """
        return estimator_files.load(cls, path, backend)

    # ---- learning

    def fit(self, X: Any, y: Any = None, *, checkpoints: Checkpoints | None = None) -> "DDPM":
        """Learn the distribution of rows, or with classes the distribution of the rows of each class.

        Parameters
        ----------
        X : array, DataFrame or tensor of shape (n_samples, n_features)
            The rows: numbers, none missing.
        y : array of shape (n_samples,), default=None
            The class of each row: whole numbers, booleans or strings.
        checkpoints : ddpm.Checkpoints, default=None
            Where and how often to write a checkpoint. `random_state` must then be an int.

        Returns
        -------
        DDPM
            The estimator itself.

        Raises
        ------
        ValueError
            X has missing values, text, fewer than two rows, or only constant columns.
        """
        fitting.check_repeatable(self, checkpoints)
        with fitting.all_or_nothing(self):
            self._fit(X, y, checkpoints)
        return self

    def _fit(self, X: Any, y: Any, checkpoints: Checkpoints | None) -> None:
        table = Table.of(X)
        x = validate_data(self, as_array(X), dtype=np.float64, ensure_min_samples=2)
        seed = self._seed()
        one_hot = self._fit_classes(y, len(x))
        self._table, self._low, self._high = table.with_decimals(x), x.min(0), x.max(0)
        x = table.continuous(x, seed)
        defaults = Defaults(len(x), int((x.min(0) < x.max(0)).sum()))
        fitting.fit_transform(self, x, defaults)
        z = torch.from_numpy(self.transform_.transform(x)).float()
        share = arguments.number("validation_fraction", self.validation_fraction, 0, 0.5)
        order = permutation(len(z), seed, 2**32 - 1)
        held_out, used = order[: int(share * len(z))], order[int(share * len(z)) :]
        seen, unseen = (Rows(z, one_hot).at(rows) for rows in (used, held_out))
        fitting.fit_network(self, seen, unseen if len(held_out) else None, defaults, seed, checkpoints)

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31))

    def _forget(self) -> None:
        """Delete the attributes that only some calls of `fit` set."""
        for name in ("classes_", "class_counts_", "columns_"):
            if hasattr(self, name):
                delattr(self, name)

    def _fit_classes(self, y: Any, count: int) -> torch.Tensor | None:
        self._forget()
        if y is None:
            return None
        self.classes_, index, self.class_counts_ = classes_of(y, count)
        return one_hot(index, len(self.classes_))

    def _check_rows(self, X: Any) -> Array:
        check_is_fitted(self)
        Table.of(X)
        found: Array = validate_data(self, as_array(X), dtype=np.float64, reset=False)
        return found

    # ---- use of the fitted model

    def sample(self, n_samples: int = 1, *, first: int = 0, y: ArrayLike | None = None, random_state: int = 0) -> Any:
        """Draw rows.

        A row depends only on `random_state` and its index: `sample(1000)[500:]` is `sample(500, first=500)`, except for
        rounding errors.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        first : int, default=0
            Index of the first row; `first + n_samples` is at most 2^48.
        y : array of shape (n_samples,), default=None
            The class of each row, if `fit` got classes. If None, classes are drawn in the proportions of the data: if
            `fit` got n rows, the rows from k n to (k + 1) n - 1 have the class counts of the data, for each k.
        random_state : int, default=0
            Seed of the samples.

        Returns
        -------
        X : array, DataFrame or tensor of shape (n_samples, n_features)
            The rows, in the type that `fit` got. Whole numbers are within the range of the data; other numbers have as
            many decimals as their column.
        y : ndarray of shape (n_samples,)
            The class of each row; returned only if `fit` got classes.
        """
        check_is_fitted(self)
        n_samples = arguments.integer("n_samples", n_samples, 1, MOST_SAMPLES)
        first = arguments.integer("first", first, 0, MOST_SAMPLES - n_samples)
        random_state = arguments.integer("random_state", random_state, -(2**63), 2**64 - 1)
        condition = classes = None
        if hasattr(self, "classes_"):
            if y is None:
                classes = draw(self.class_counts_, n_samples, first, random_state)
            else:
                classes = index_of(y, self.classes_, n_samples)
            condition = one_hot(classes, len(self.classes_))
        elif y is not None:
            raise ValueError("y must be None: fit got no classes")
        with torch.no_grad():
            z = self.diffusion_.sample(n_samples, seed=random_state, first=first, condition=condition)
        if not torch.isfinite(z).all():
            raise ValueError("the samples are not finite: the weights of the model are not finite")
        x = self._table.like_given(self.transform_.inverse_transform(z.double().cpu().numpy()), self._low, self._high)
        return x if classes is None else (x, self.classes_[classes])

    def score_samples(self, X: Any, y: ArrayLike | None = None, *, samples: int = 8) -> Array:
        """Estimate the log-density of each row in nats, in the units of X.

        The estimate is a lower bound on average. More `samples` bring it closer to the log-density (Burda 2016). If
        `fit` got classes, the density is the joint density of X and y; without y it is the sum over all classes.
        Constant columns add nothing, and a row with other values in them gets -inf.

        Parameters
        ----------
        X : array, DataFrame or tensor of shape (n_samples, n_features)
            The rows.
        y : array of shape (n_samples,), default=None
            The class of each row.
        samples : int, default=8
            Number of trajectories drawn for each row.

        Returns
        -------
        ndarray of shape (n_samples,)
            The log-densities, float64.
        """
        x = self._check_rows(X)
        z = torch.from_numpy(self.transform_.transform(x))
        jacobian = self.transform_.log_jacobian(x)
        if not hasattr(self, "classes_"):
            if y is not None:
                raise ValueError("y must be None: fit got no classes")
            return log_likelihood(self.diffusion_, z, samples=samples).numpy() + jacobian
        shares = log_shares(self.class_counts_)

        def joint(index: NDArray[np.intp]) -> Array:
            condition = one_hot(index, len(self.classes_))
            found = log_likelihood(self.diffusion_, z, samples=samples, condition=condition)
            total: Array = found.numpy() + shares[index] + jacobian
            return total

        if y is not None:
            return joint(index_of(y, self.classes_, len(x)))
        every = [joint(np.full(len(x), k, dtype=np.intp)) for k in range(len(self.classes_))]
        return np.logaddexp.reduce(every, axis=0)

    def score(self, X: Any, y: ArrayLike | None = None) -> float:
        """Return the mean of `score_samples`: the average log-density of the rows, in nats."""
        return float(np.mean(self.score_samples(X, y)))

"""A DDPM of a table, with the habits of scikit-learn."""

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
    """A denoising diffusion probabilistic model of the rows of a table (Ho 2020).

    Parameters
    ----------
    hidden : tuple of int or "auto", default="auto"
        Widths of the hidden layers, which mean and standard deviation share.
    timesteps : int or "auto", default="auto"
        T, the steps of the forward process, even in log-SNR.
    steps : int or "auto", default="auto"
        Updates of the weights.
    batch_size : int or "auto", default="auto"
        Rows an update.
    draws : int, default=4
        Terms of the bound that are drawn for each row of an update.
    learning_rate : float, default=0.01
        Of AdamW, after 50 updates; it falls to 0 by half a cosine.
    weight_decay : float or "auto", default="auto"
    ema_decay : float, default=0.995
        Of the average of the weights that is used.
    features : tuple of float or "auto", default="auto"
        Frequencies of Fourier features of the scaled columns.
    dropout : float, default=0.0
        Share of the hidden units left out at random in training, which then takes some ten times as long.
    scaling : {"standard", "power", "quantile", "auto"} or None, default="auto"
        Of each column: to mean 0 and standard deviation 1; by Yeo and Johnson (2000) before that; to a normal
        distribution by its quantiles; not at all.
    whiten : bool or "auto", default="auto"
        Whether the columns are made uncorrelated after that.
    validation_fraction : float, default=0.0
        Share of the rows on which the weights are compared, and the best taken.
    backend : str or None, default=None
        See ddpm.backends().
    random_state : int, RandomState instance or None, default=None
    verbose : bool, default=False
        Whether to show a progress bar, if standard error is a terminal.

    What is "auto" is chosen by the shape of the data alone.

    Attributes
    ----------
    diffusion_ : ddpm.Diffusion
        Of the transformed columns.
    transform_ : the transform of the columns.
    classes_ : ndarray
        The classes, where `fit` got some.
    class_counts_ : ndarray
        How many rows each had.
    n_features_in_, feature_names_in_ : as in scikit-learn.
    columns_ : ddpm.table_files.Columns
        Of the file that "ddpm train" read, with that of the classes; only there.
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
        """Write the model to a safetensors file; an existing file is replaced whole.

        Parameters
        ----------
        path : str or path
        """
        check_is_fitted(self)
        estimator_files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | None = None) -> "DDPM":
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path
        backend : str or None, default=None

        Returns
        -------
        DDPM

        Raises
        ------
        FileNotFoundError, ValueError
            No such file, or none of an estimator.
        """
        return estimator_files.load(cls, path, backend)

    # ---- learning

    def fit(self, X: Any, y: Any = None, *, checkpoints: Checkpoints | None = None) -> "DDPM":
        """Learn the distribution of rows, or with classes that of the rows of each.

        Parameters
        ----------
        X : array, DataFrame or tensor of shape (n_samples, n_features)
            Numbers, none missing.
        y : array of shape (n_samples,), default=None
            A class of each row.
        checkpoints : ddpm.Checkpoints, default=None
            Where and how often to write all that is needed to go on; random_state then has to be an int.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Missing values, text, one row, or nothing but constant columns.
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
        """Drop what not every `fit` learns."""
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

    # ---- what has been learnt

    def sample(self, n_samples: int = 1, *, first: int = 0, y: ArrayLike | None = None, random_state: int = 0) -> Any:
        """Draw rows.

        A row depends on (random_state, its index) alone: sample(1000)[500:] is sample(500, first=500), but for rounding
        errors.

        Parameters
        ----------
        n_samples : int, default=1
        first : int, default=0
            Index of the first row; first + n_samples is at most 2^48.
        y : array of shape (n_samples,), default=None
            The classes, where `fit` got some; None draws them at their shares: n of them that begin at a multiple of n,
            the number of rows that `fit` got, have as many of each as these.
        random_state : int, default=0
            Seed of the samples.

        Returns
        -------
        X : array, DataFrame or tensor, as `fit` got, of shape (n_samples, n_features)
            Whole numbers within the range that `fit` saw; others with the decimals that their column had.
        y : ndarray of shape (n_samples,)
            Where `fit` got classes.
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
            raise ValueError("the samples are not finite: the weights of the model are not")
        x = self._table.like_given(self.transform_.inverse_transform(z.double().cpu().numpy()), self._low, self._high)
        return x if classes is None else (x, self.classes_[classes])

    def score_samples(self, X: Any, y: ArrayLike | None = None, *, samples: int = 8) -> Array:
        """Estimate the log-density of each row, in nats, in the units of X.

        A lower bound on average, which more `samples` bring closer to the log-density (Burda 2016). Where `fit` got
        classes, the density is that of X and y together, and without y the sum over all classes. Constant columns add
        nothing, and a row that has other values there gets -inf.

        Parameters
        ----------
        X : array, DataFrame or tensor of shape (n_samples, n_features)
        y : array of shape (n_samples,), default=None
        samples : int, default=8
            Trajectories of each row.

        Returns
        -------
        ndarray of shape (n_samples,)
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
        """Return the mean of score_samples."""
        return float(np.mean(self.score_samples(X, y)))

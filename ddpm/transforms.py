"""The transform of a table's columns into what a network learns, and back.

Constant columns are left out, every other column is scaled, and all may be whitened. The scaling is scikit-learn's.
This module chooses the columns, computes the log-Jacobian, and limits the inverse.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, QuantileTransformer, StandardScaler

from ddpm.tables import Array

KINDS = ("standard", "power", "quantile")
QUANTILES = 1000
EIGENVALUE = 1e-4  # the least variance that whitening divides by, as a share of the largest


class TableTransform:
    """A transform of rows to z, whose columns have mean 0 and standard deviation 1, and back.

    Args:
        kind: "standard" subtracts the mean and divides by the standard deviation. "power" then applies the transform of
            Yeo and Johnson (2000), and standardises again. "quantile" maps to a normal distribution. None changes
            nothing.
        whiten: whether the columns of z are also made uncorrelated.

    Attributes:
        constant: [columns] bool, whether all rows have the same value. Such columns are left out of z, and put back by
            the inverse.
        dim: the number of columns that are not constant.
    """

    def __init__(self, kind: str | None, whiten: bool = False) -> None:
        self.kind, self.whiten = kind, whiten

    def fit(self, x: Array) -> "TableTransform":
        """Learn the transform from rows x, [N, columns].

        Raises:
            ValueError: no column has two different values, or the numbers are too large.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # an error is raised below
            mean = x.mean(0)
            spread = (x - mean).std(0)
        if not np.isfinite(spread).all():
            raise ValueError(
                f"X has numbers up to {np.abs(x).max():.3g}, whose squares overflow float64: scale it down"
            )
        self.constant = (np.ptp(x, axis=0) == 0) | (spread == 0)
        self.values = x[0].copy()
        if self.constant.all():
            raise ValueError("X must have a column with two different values; all of its columns are constant")
        self.dim = int((~self.constant).sum())
        self.shape, self.scaler = self._parts(len(x))
        # center and scale first: scikit-learn compares with absolute numbers, and Yeo and Johnson's powers lose their
        # digits far from 0
        self.center = np.zeros(self.dim) if self.kind is None else mean[~self.constant]
        self.spread = np.ones(self.dim) if self.kind is None else spread[~self.constant]
        y = self.shape.fit_transform((x[:, ~self.constant] - self.center) / self.spread)
        self.scaler.fit(y)
        z = self.scaler.transform(y)
        self.matrix = _whitening(z) if self.whiten else np.eye(self.dim)
        self.inverse_matrix = np.linalg.inv(self.matrix)
        self.low, self.high = z.min(0), z.max(0)
        return self

    def _parts(self, rows: int) -> tuple[Any, StandardScaler]:
        shape: Any = FunctionTransformer()
        if self.kind == "power":
            shape = PowerTransformer("yeo-johnson", standardize=False)
        elif self.kind == "quantile":
            shape = QuantileTransformer(n_quantiles=min(QUANTILES, rows), output_distribution="normal", subsample=None)
        return shape, StandardScaler(with_mean=self.kind is not None, with_std=self.kind is not None)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that `fit` has learned, by name."""
        learnt = ((owner, name) for owner, names in self._owners() for name in names)
        return {name: getattr(owner, name) for owner, name in learnt if getattr(owner, name, None) is not None}

    def restore(self, state: dict[str, NDArray[Any]]) -> "TableTransform":
        """Restore what a transform of the same kind has learned, from its `state`.

        Raises:
            ValueError: it is not the state of such a transform.
        """
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"scaling must be one of {', '.join(KINDS)} or None; got {self.kind!r}")
        self.shape, self.scaler = self._parts(len(state.get("references_", ())) or 1)
        names = {name for _, names in self._owners() for name in names}
        if self.kind is None:
            names -= {"mean_", "scale_"}
        if state.keys() != names:
            raise ValueError(f"state must have the entries {', '.join(sorted(names))}; got {', '.join(sorted(state))}")
        if state["constant"].dtype != np.bool_ or state["constant"].all():
            raise ValueError("constant must be booleans, not all of them true")
        _check_state(state)
        for owner, own in self._owners():
            for name in own:
                setattr(owner, name, state.get(name))
        self.dim = int((~self.constant).sum())
        self.shape.n_features_in_ = self.scaler.n_features_in_ = self.dim
        self.inverse_matrix = np.linalg.inv(self.matrix)
        return self

    def _owners(self) -> tuple[tuple[Any, tuple[str, ...]], ...]:
        """Return the objects that hold the learned numbers, each with the names of its numbers."""
        shape = {"power": ("lambdas_",), "quantile": ("quantiles_", "references_")}.get(str(self.kind), ())
        own = ("constant", "values", "center", "spread", "matrix", "low", "high")
        return (self, own), (self.shape, shape), (self.scaler, ("mean_", "scale_"))

    def transform(self, x: Array) -> Array:
        """Return z, [N, dim], of rows x, [N, columns]."""
        y = self.shape.transform((x[:, ~self.constant] - self.center) / self.spread)
        z: Array = self.scaler.transform(y) @ self.matrix
        return z

    def inverse_transform(self, z: Array) -> Array:
        """Return the rows, [N, columns], of z, [N, dim].

        For "power" and "quantile", values are first clipped to the range of the training data.
        """
        scaled = z @ self.inverse_matrix
        if self.kind in ("power", "quantile"):  # beyond the range their inverse is NaN, or constant
            scaled = np.clip(scaled, self.low, self.high)
        x = np.tile(self.values, (len(z), 1))
        y = self.shape.inverse_transform(self.scaler.inverse_transform(scaled))
        x[:, ~self.constant] = self.center + self.spread * y
        return x

    def log_jacobian(self, x: Array) -> Array:
        """Return `log |dz / dx|` of each row, [N], in nats.

        It is -infinity for a row with another value in a constant column or, for "quantile", with a value beyond the
        range of the training data.
        """
        varying = (x[:, ~self.constant] - self.center) / self.spread
        slopes = np.zeros_like(varying)
        if self.kind == "power":
            sign = np.where(varying >= 0, 1, -1)
            slopes = sign * (self.shape.lambdas_ - 1) * np.log1p(np.abs(varying))
        elif self.kind == "quantile":
            slopes = _log_slope_of_quantiles(self.shape, varying)
        scale = np.ones(self.dim) if self.scaler.scale_ is None else self.scaler.scale_
        whitened = np.linalg.slogdet(self.matrix)[1]
        total: Array = (slopes - np.log(scale * self.spread)).sum(1) + whitened
        outside = x[:, self.constant] != self.values[self.constant]
        return np.where(outside.any(1), -np.inf, total)


def _check_state(state: dict[str, NDArray[Any]]) -> None:
    """Raise ValueError unless the numbers in a state have the right shapes, dtypes and ranges."""
    columns, dim, knots = state["constant"].size, int((~state["constant"]).sum()), len(state.get("references_", ()))
    shapes: dict[str, tuple[int, ...]] = {
        **{"constant": (columns,), "values": (columns,), "matrix": (dim, dim)},
        **{"references_": (knots,), "quantiles_": (knots, dim)},
    }
    for name, array in state.items():
        shape = shapes.get(name, (dim,))
        if array.shape != shape or (name != "constant" and array.dtype != np.float64):
            raise ValueError(f"{name} must be float64 {list(shape)}; got {array.dtype} {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
        if name in ("spread", "scale_") and not (array > 0).all():
            raise ValueError(f"{name} must be positive; got {array.min()}")
        if name in shapes and knots and name.endswith("s_") and not (np.diff(array, axis=0) >= 0).all():
            raise ValueError(f"{name} must not decrease")


def _whitening(z: Array) -> Array:
    """Return the matrix W for which z W has uncorrelated columns of variance 1."""
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))
    floor = EIGENVALUE * values.max()
    found: Array = vectors / np.sqrt(np.maximum(values, floor))
    return found


def _log_slope_of_quantiles(transformer: QuantileTransformer, x: Array) -> Array:
    """Return log(dz / dx) for z = Phi^-1(F(x)), with F linear between two quantiles.

    A number that many rows share has no density: its repeated quantiles count as one.
    """
    slopes = np.empty_like(x)
    for column in range(x.shape[1]):
        knots, shares = np.unique(transformer.quantiles_[:, column].round(9)), transformer.references_
        rank = np.interp(knots, transformer.quantiles_[:, column], shares)
        piece = np.clip(np.searchsorted(knots, x[:, column], side="right") - 1, 0, len(knots) - 2)
        density = (rank[piece + 1] - rank[piece]) / (knots[piece + 1] - knots[piece])
        z = transformer.transform(x)[:, column]
        with np.errstate(divide="ignore"):
            inside = (x[:, column] >= knots[0] - 1e-9) & (x[:, column] <= knots[-1] + 1e-9)
            slopes[:, column] = np.where(inside, np.log(density) - norm.logpdf(z), -np.inf)
    return slopes

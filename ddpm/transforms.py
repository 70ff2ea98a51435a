"""How a table's columns become what a network learns, and back: constants aside, each column scaled, all whitened.

The transforms themselves are scikit-learn's; what is here is which columns they see, their log-Jacobian, and the limits
of their inverse.
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
    """Maps rows to z, of mean 0 and standard deviation 1 by column, and back.

    Args:
        kind: "standard": less the mean, over the standard deviation; "power": then Yeo and Johnson's (2000), and the
            same again; "quantile": to a normal distribution; None: as they are.
        whiten: whether the columns of z are also made uncorrelated.

    Attributes:
        constant: [columns], whether all rows have the same value; such columns are left out, and put back.
        dim: how many are not.
    """

    def __init__(self, kind: str | None, whiten: bool = False) -> None:
        self.kind, self.whiten = kind, whiten

    def fit(self, x: Array) -> "TableTransform":
        """Learn from rows x [N, columns].

        Raises:
            ValueError: no column has two different values.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # an error follows
            mean = x.mean(0)
            spread = (x - mean).std(0)
        if not np.isfinite(spread).all():
            raise ValueError(
                f"X has numbers up to {np.abs(x).max():.3g}, whose squares no float64 holds: scale it down"
            )
        self.constant = (np.ptp(x, axis=0) == 0) | (spread == 0)
        self.values = x[0].copy()
        if self.constant.all():
            raise ValueError("X must have a column with two different values; all of its columns are constant")
        self.dim = int((~self.constant).sum())
        self.shape, self.scaler = self._parts(len(x))
        # scikit-learn compares with absolute numbers, and Yeo and Johnson's transform begins at 0: far from there no
        # power of it has enough digits
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
        """Return all that `fit` has learnt, by name."""
        learnt = ((owner, name) for owner, names in self._owners() for name in names)
        return {name: getattr(owner, name) for owner, name in learnt if getattr(owner, name, None) is not None}

    def restore(self, state: dict[str, NDArray[Any]]) -> "TableTransform":
        """Take over what another of the same kind has learnt, from its `state`.

        Raises:
            ValueError: it is not that of any.
        """
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"scaling must be one of {', '.join(KINDS)} or None; got {self.kind!r}")
        self.shape, self.scaler = self._parts(len(state.get("references_", ())) or 1)
        names = {name for _, names in self._owners() for name in names}
        if self.kind is None:
            names -= {"mean_", "scale_"}
        if state.keys() != names:
            raise ValueError(f"a transform has {', '.join(sorted(names))}; got {', '.join(sorted(state))}")
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
        """Who has which of the numbers that are learnt."""
        shape = {"power": ("lambdas_",), "quantile": ("quantiles_", "references_")}.get(str(self.kind), ())
        own = ("constant", "values", "center", "spread", "matrix", "low", "high")
        return (self, own), (self.shape, shape), (self.scaler, ("mean_", "scale_"))

    def transform(self, x: Array) -> Array:
        """Return z [N, dim] of rows x [N, columns]."""
        y = self.shape.transform((x[:, ~self.constant] - self.center) / self.spread)
        z: Array = self.scaler.transform(y) @ self.matrix
        return z

    def inverse_transform(self, z: Array) -> Array:
        """Return rows [N, columns] of z [N, dim], within the range of the training data's z where that has an end."""
        scaled = z @ self.inverse_matrix
        if self.kind in ("power", "quantile"):  # whose inverse is not a number beyond, or does not go on
            scaled = np.clip(scaled, self.low, self.high)
        x = np.tile(self.values, (len(z), 1))
        y = self.shape.inverse_transform(self.scaler.inverse_transform(scaled))
        x[:, ~self.constant] = self.center + self.spread * y
        return x

    def log_jacobian(self, x: Array) -> Array:
        """Return log |dz / dx| of each row, [N], in nats; -infinity where a row is outside of what z can say."""
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
    """Raise ValueError unless numbers that were learnt have the shapes and the range that these have."""
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
            raise ValueError(f"{name} must not fall")


def _whitening(z: Array) -> Array:
    """The matrix W for which z W has uncorrelated columns of variance 1."""
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))
    floor = EIGENVALUE * values.max()
    found: Array = vectors / np.sqrt(np.maximum(values, floor))
    return found


def _log_slope_of_quantiles(transformer: QuantileTransformer, x: Array) -> Array:
    """log of d z / d x for z = Phi^-1(F(x)), F linear between two quantiles.

    A number that comes again and again has no density.
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

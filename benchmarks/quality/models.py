"""The models to compare: ours, and what people use instead. Each is fitted to rows, and to their classes if any."""

import math
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import ddpm
from benchmarks.quality import plain
from benchmarks.quality.data import Array, Split
from ddpm.metrics import gaussian_mixture

Classes = NDArray[np.intp]
Rows = tuple[Array, Classes | None]


class Fitted(Protocol):
    """A model that has been fitted."""

    def log_density(self, x: Array) -> Array | None:
        """Return the log-density of each row in nats, over all classes, or None if the model has no density."""

    def bound(self, x: Array) -> Array | None:
        """Return a lower bound of it, if that is cheaper to compute, or None if the density itself is known."""

    def sample(self, count: int, draw: int) -> Rows:
        """Return rows, and their classes or None. Another `draw` gives other rows."""


class Estimator:
    """ddpm.DDPM with its defaults."""

    def __init__(self, split: Split, seed: int) -> None:
        self.model = ddpm.DDPM(random_state=seed).fit(split.train, split.train_classes)

    def log_density(self, x: Array) -> Array:
        return self.model.score_samples(x, samples=8)

    def bound(self, x: Array) -> Array:
        return self.model.score_samples(x, samples=1)

    def sample(self, count: int, draw: int) -> Rows:
        found = self.model.sample(count, first=draw * count)
        return found if isinstance(found, tuple) else (found, None)


class ByClass:
    """A density for each class, of standardised columns. With `power`, Yeo-Johnson makes the columns nearly normal."""

    def __init__(self, split: Split, seed: int, fit: Callable[[Array, int], Any], power: bool) -> None:
        from sklearn.preprocessing import PowerTransformer, StandardScaler

        self.scaler = StandardScaler().fit(split.train)
        x, self.seed = self.scaler.transform(split.train), seed
        self.power = PowerTransformer().fit(x) if power else None
        z = x if self.power is None else self.power.transform(x)
        self.low, self.high = z.min(0), z.max(0)
        classes = np.zeros(len(z), np.intp) if split.train_classes is None else split.train_classes
        self.given, self.counts = split.train_classes is not None, np.bincount(classes)
        self.parts = [fit(z[classes == k], seed) for k in range(len(self.counts))]

    def log_density(self, x: Array) -> Array:
        x = self.scaler.transform(x)
        logs, z = np.full(len(x), -np.log(self.scaler.scale_).sum()), x
        if self.power is not None:
            z = self.power.transform(x)
            powers = (self.power.lambdas_ - 1) * np.sign(x) * np.log1p(np.abs(x))
            logs = logs + (powers - np.log(self.power._scaler.scale_)).sum(1)
        shares = np.log(self.counts / self.counts.sum())
        parts = [part.score_samples(z) + share for part, share in zip(self.parts, shares, strict=True)]
        return np.asarray(np.logaddexp.reduce(parts, axis=0) + logs)

    def bound(self, _: Array) -> None:
        return None

    def sample(self, count: int, draw: int) -> Rows:
        generator = np.random.default_rng([self.seed, draw])
        # classes have their shares of the training rows, as in the other models
        classes = np.sort(generator.permutation(np.repeat(np.arange(len(self.counts)), self.counts))[:count])
        if len(classes) < count:
            classes = np.sort(generator.choice(len(self.counts), count, p=self.counts / self.counts.sum()))
        z = []
        for k, part in enumerate(self.parts):
            many, state = int((classes == k).sum()), int(generator.integers(2**31))
            if many and hasattr(part, "weights_"):
                part.random_state = state
                z.append(generator.permutation(part.sample(many)[0]))
            elif many:
                z.append(part.sample(many, random_state=state))
        x = np.concatenate(z)
        if self.power is not None:  # the inverse is NaN outside of its range
            x = self.power.inverse_transform(np.clip(x, self.low, self.high))
        order = generator.permutation(count)
        return self.scaler.inverse_transform(x)[order], classes[order] if self.given else None


def _mixture(x: Array, seed: int) -> Any:
    return gaussian_mixture(x, random_state=seed)


def kernel_density(x: Array, _: int) -> Any:
    """Fit a Gaussian kernel around every row. Cross-validation chooses its width."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    widths = {"bandwidth": np.geomspace(0.01, 1, 12)}
    return GridSearchCV(KernelDensity(rtol=1e-4), widths, cv=min(3, len(x))).fit(x).best_estimator_


class Forest:
    """ForestDiffusion's flow of trees (Jolicoeur-Martineau 2024), with its defaults."""

    def __init__(self, split: Split, seed: int) -> None:
        self.columns, self.given = split.train.shape[1], split.train_classes is not None
        self.model = import_module("ForestDiffusion").ForestDiffusionModel(
            split.train.copy(), label_y=split.train_classes, seed=seed, n_jobs=-1
        )

    def log_density(self, _: Array) -> None:
        return None

    def bound(self, _: Array) -> None:
        return None

    def sample(self, count: int, draw: int) -> Rows:
        np.random.seed(draw)  # noqa: NPY002  it draws from this generator
        found = self.model.generate(batch_size=count)
        return found[:, : self.columns], found[:, -1].astype(np.intp) if self.given else None


class Model(NamedTuple):
    """A model by its name.

    Attributes:
        words: its name in the tables.
        fit: (split, seed) -> the fitted model.
        package: the package that it needs.
        most: number of rows that can be fitted in a minute or two.
    """

    words: str
    fit: Callable[[Split, int], Fitted]
    package: str = "sklearn"
    most: float = math.inf

    @property
    def is_here(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.package) is not None


MODELS: dict[str, Model] = {
    "ours": Model("`ddpm.DDPM`", Estimator),
    "plain": Model("plain PyTorch, epsilon prediction", plain.Plain, "torch"),
    "mixture": Model("mixture of Gaussians (BIC)", lambda s, seed: ByClass(s, seed, _mixture, True)),
    "kernels": Model("kernel density", lambda s, seed: ByClass(s, seed, kernel_density, False)),
    "forest": Model("ForestDiffusion", Forest, "ForestDiffusion", 1000),
}


def seeded(seed: int) -> None:
    """Seed the global random generators, which rivals draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002

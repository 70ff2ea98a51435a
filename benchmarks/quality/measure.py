"""Fit, time and measure one model on one split."""

import time
from typing import Any

import numpy as np

from benchmarks.quality import metrics
from benchmarks.quality.data import Array, Split, split
from benchmarks.quality.models import MODELS, seeded
from benchmarks.quality.report import FLOOR
from ddpm.datasets import DISTRIBUTIONS
from ddpm.metrics import wasserstein

GENERATIONS = 5
SCORED = 5000  # test rows, at most, whose density is computed


def measure(data: str, model: str, seed: int) -> dict[str, Any]:
    """Fit a model and return its measurements.

    seconds: time of the fit. density, bound: nats of a test row above the entropy, or nats of a row of standardised
    columns if the entropy is unknown, with the standard error of the mean. wasserstein: distance to the test rows.
    nearest: distance of generated rows from the training set.
    """
    rows = split(data, seed)
    seeded(seed)
    started = time.perf_counter()
    fitted = MODELS[model].fit(rows, seed)
    found: dict[str, Any] = {"data": data, "model": model, "seed": seed, "seconds": time.perf_counter() - started}
    test = rows.test[:SCORED]
    for name, logs in (("density", fitted.log_density(test)), ("bound", fitted.bound(test))):
        if logs is not None:
            nats = _excess(data, rows, test, logs)
            found[name], found[f"{name}_error"] = float(nats.mean()), float(nats.std() / len(nats) ** 0.5)
    distances, gaps = [], []
    for draw in range(GENERATIONS if data not in DISTRIBUTIONS else 1):
        x, classes = fitted.sample(len(rows.train), draw)
        distances.append(_wasserstein(rows, x, classes))
        gaps.append(metrics.nearest(x, rows))
    return found | {"wasserstein": float(np.mean(distances)), "nearest": float(np.mean(gaps))}


def floor(data: str, seed: int) -> dict[str, Any]:
    """Return the same measurements for the training rows as samples. `nearest` is that of the test rows."""
    rows = split(data, seed)
    return {
        "data": data,
        "model": FLOOR,
        "seed": seed,
        "wasserstein": _wasserstein(rows, rows.train, rows.train_classes),
        "nearest": metrics.nearest(rows.test, rows),
    }


def _excess(data: str, rows: Split, test: Array, logs: Array) -> Array:
    if data in DISTRIBUTIONS:  # relative to the entropy of these points, so the luck of the draw cancels
        return np.asarray(DISTRIBUTIONS[data].log_density(test) - logs)
    return np.asarray(-logs - np.log(rows.train.std(0)).sum())


def _wasserstein(rows: Split, x: Array, classes: Any) -> float:
    sides = metrics.features(rows.test, rows.test_classes, rows), metrics.features(x, classes, rows)
    return wasserstein(*sides, metric="cityblock", rows=metrics.MOST)

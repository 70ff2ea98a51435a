"""DDPM (Ho 2020) for low-dimensional data, with the variational bound and the reverse process as fused kernels."""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import kernels

if getattr(kernels, "DISTRIBUTION", None) != "fused-ddpm":
    raise ImportError(
        f"another distribution's package 'kernels' ({getattr(kernels, '__file__', None)}) hides the one of fused-ddpm: "
        "uninstall it, or put fused-ddpm before it on sys.path"
    )

from kernels.native.library import library

library.begin()  # if the compiler has to run, it runs while torch is imported

from ddpm import datasets
from ddpm.checkpoint import load, save
from ddpm.checkpoints import Checkpoints, TrainingInterrupted
from ddpm.diffusion import Diffusion
from ddpm.networks import GaussianMLP
from ddpm.schedule import Schedule
from ddpm.training import train
from ddpm.training_result import TrainingResult
from kernels.backends import available as backends

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ddpm import metrics
    from ddpm.estimator import DDPM
    from ddpm.evaluation import evaluate

# names that need an extra, and the modules that define them
EXTRAS = {"DDPM": "ddpm.estimator", "evaluate": "ddpm.evaluation", "metrics": "ddpm.metrics"}


def __getattr__(name: str) -> Any:
    """Import the parts for tables at their first use: scikit-learn is an extra, and its import takes a second."""
    if name not in EXTRAS:
        raise AttributeError(f"module 'ddpm' has no attribute {name!r}")
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError(f"ddpm.{name} needs scikit-learn: pip install 'fused-ddpm[tables]'")
    module = importlib.import_module(EXTRAS[name])
    return module if EXTRAS[name] == f"ddpm.{name}" else getattr(module, name)


__all__ = [
    "DDPM",
    "Checkpoints",
    "Diffusion",
    "GaussianMLP",
    "Schedule",
    "TrainingInterrupted",
    "TrainingResult",
    "backends",
    "datasets",
    "evaluate",
    "load",
    "metrics",
    "save",
    "train",
]

"""DDPM for low-dimensional data: the plain-PyTorch tutorial (Ho 2020, Eq. 2 and 3) with its two loops fused."""

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

library.begin()  # the compiler, if it has to run, while torch is imported

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

# what needs an extra, and the module that has it
EXTRAS = {"DDPM": "ddpm.estimator", "evaluate": "ddpm.evaluation", "metrics": "ddpm.metrics"}


def __getattr__(name: str) -> Any:
    """Import what is for tables at its first use: scikit-learn is an extra, and takes a second."""
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

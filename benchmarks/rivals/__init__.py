"""Who does the work: a module for each rival, whose functions bear the names of the operations.

Each takes a Problem and returns a Work. An operation that a module lacks is not the rival's business.
"""

import importlib
import importlib.util
from types import ModuleType, SimpleNamespace

from benchmarks.cases import Case
from benchmarks.rivals import own
from kernels import backends

BACKENDS = backends.BACKENDS[1:]  # the reference is the tutorial
PACKAGES = {
    "tutorial": (),
    "tutorial_compiled": (),
    "torch_compile": (),
    "jax_batch": ("jax", "optax"),
    "jax_scan": ("jax", "optax"),
    "diffusers": ("diffusers",),
}
RIVALS = (*BACKENDS, *PACKAGES)

# Elements (step, sample, dimension, four hidden units) that fit the memory of a small machine and of a GPU: autograd
# keeps every one of them, several times over.
MOST = {"cpu": 3e7, "cuda": 3e8}
UNROLLED_STEPS = 50  # torch.compile unrolls the tutorial's loop, and takes more than a second for each step


def load(rival: str) -> ModuleType | SimpleNamespace:
    """The functions of a rival."""
    return own.backend(rival) if rival in BACKENDS else importlib.import_module(f"benchmarks.rivals.{rival}")


def missing(rival: str, device: str = "cpu") -> str | None:
    """Why a rival cannot run at all, None if it can."""
    if rival in BACKENDS:
        return backends.missing(rival, device)
    for package in PACKAGES[rival]:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    if device == "cuda" and "jax" in PACKAGES[rival]:
        import jax

        return None if jax.default_backend() == "gpu" else "JAX finds no GPU"
    return None


def gap(rival: str, case: Case) -> str | None:
    """Why there is no figure of a rival for a case, None where there is one."""
    if reason := missing(rival, case.device):
        return reason
    if rival == "tutorial_compiled" and case.T > UNROLLED_STEPS:
        return f"torch.compile unrolls its loop, more than a second for each step: measured up to T = {UNROLLED_STEPS}"
    kept = case.N * case.T * case.D * max(1, case.H // 4)
    if rival not in BACKENDS and case.op in ("variational_bound", "training_step") and kept > MOST[case.device]:
        return f"autograd would keep {kept:.0e} elements, more than {MOST[case.device]:.0e}"
    return None

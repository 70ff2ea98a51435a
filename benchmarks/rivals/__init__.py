"""Who does the work: a file for each rival, whose functions bear the names of the operations.

Each takes a Problem and returns a Work. An operation that a file lacks is not the rival's business. Beside them a file
says what the rival needs (PACKAGES), how it is drawn (STYLE, a colour and a marker), and for which cases it has no
figure (`gap`). It can be imported where its packages are missing.
"""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from benchmarks.cases import Case
from benchmarks.rivals import own
from kernels import backends

# the reference is the tutorial, from which autograd finds the gradients
BACKENDS = tuple(name for name, backend in backends.REGISTERED.items() if not backend.by_autograd)
RIVALS = (*BACKENDS, *(module.name for module in pkgutil.iter_modules(__path__) if module.name != "own"))


def load(rival: str) -> ModuleType | own.Own:
    """The functions of a rival, and what its file says of it."""
    return own.Own(rival) if rival in BACKENDS else importlib.import_module(f"benchmarks.rivals.{rival}")


def missing(rival: str) -> str | None:
    """Why a rival cannot run at all, None if it can."""
    for package in load(rival).PACKAGES:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    return None


def gap(rival: str, case: Case, size: str) -> str | None:
    """Why a run of a `size` has no figure of a rival for a case, None where it has one."""
    return missing(rival) or load(rival).gap(case, size)

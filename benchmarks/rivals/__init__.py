"""The rivals: one file each, with a function for each operation that the rival has, of the same name.

Each function has a Problem as its argument and returns a Work. The file also says which packages the rival needs
(PACKAGES), how it is drawn (STYLE, a colour and a marker), and which cases it cannot do (`gap`). It can be imported
without these packages.
"""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from benchmarks.cases import Case
from benchmarks.rivals import own
from kernels import backends

# without the reference, whose gradients come from autograd: it is the rival `tutorial`
BACKENDS = tuple(name for name, backend in backends.REGISTERED.items() if not backend.by_autograd)
RIVALS = (*BACKENDS, *(module.name for module in pkgutil.iter_modules(__path__) if module.name != "own"))


def load(rival: str) -> ModuleType | own.Own:
    """Return the module of a rival, or an object with the same attributes for one of our backends."""
    return own.Own(rival) if rival in BACKENDS else importlib.import_module(f"benchmarks.rivals.{rival}")


def missing(rival: str) -> str | None:
    """Return why a rival cannot run at all, or None if it can."""
    for package in load(rival).PACKAGES:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    return None


def gap(rival: str, case: Case, size: str) -> str | None:
    """Return why a run of a `size` does not measure a rival on a case, or None if it does."""
    return missing(rival) or load(rival).gap(case, size)

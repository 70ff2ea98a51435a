"""The layout that CONTRIBUTING.md promises, checked against the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels import backends

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "kernels"
NAMES = set(backends.REGISTERED)
OPS = set(backends.ops())

# "compiled" is "vectorized" compiled: the one backend that is made of another
MADE_OF = {"compiled": {"vectorized"}}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, and module.name for each name that it imports from a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def backend_of(parts: list[str]) -> str | None:
    """Return the backend that a module belongs to, by its folder or, in the folder of an op, by its file."""
    if parts[1] in NAMES:
        return parts[1]
    name = parts[2].split("_")[0] if len(parts) > 2 and parts[1] in OPS else ""
    return name if name in NAMES else None


def of_the_package(path: Path) -> list[str]:
    return list(path.relative_to(ROOT).with_suffix("").parts)


FILES = [path for path in sorted(KERNELS.rglob("*.py")) if backend_of(of_the_package(path)) is not None]


def test_there_is_something_to_look_at() -> None:
    assert len(OPS) == 7
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(of_the_package(path)[1:]))
def test_an_implementation_imports_no_other(path: Path) -> None:
    here = of_the_package(path)
    backend, op = backend_of(here), here[1] if here[1] in OPS else None
    assert backend is not None
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "kernels" or len(parts) < 3:
            continue
        other = backend_of(parts)
        if other is None:
            continue
        assert other in {backend} | MADE_OF.get(backend, set()), f"another backend's {module}"
        assert parts[1] in NAMES or parts[1] == op, f"another op's {module}"


def test_kernels_never_import_ddpm() -> None:
    for path in KERNELS.rglob("*.py"):
        assert not any(module.split(".")[0] in ("ddpm", "benchmarks") for module in imports(path)), path

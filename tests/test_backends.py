"""Which backends exist, the errors for one that is unknown or not available, and what an import needs."""

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import oracle
import pytest
import torch

import ddpm
from kernels import backends, noise
from kernels.backends import Backend
from kernels.forward_process import forward_process
from kernels.native.library import library
from kernels.place import Place
from kernels.reverse_process import reverse_process
from kernels.reverse_step import reverse_step
from kernels.transition_bound import transition_bound
from kernels.variational_bound import variational_bound

ROOT = Path(__file__).parents[1]


def forget() -> None:
    """Clear the caches of what is known about this machine."""
    for backend in backends.REGISTERED.values():
        getattr(backend.missing, "cache_clear", lambda: None)()
    backends._warn.cache_clear()
    library.__init__()  # type: ignore[misc]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CXX", "no-such-compiler")
    forget()
    yield
    monkeypatch.undo()
    forget()


def diffusion(backend: str | None = None, hidden: tuple[int, ...] = (4,)) -> ddpm.Diffusion:
    return ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), ddpm.Schedule.constant(5, 0.1), backend=backend)


def test_all_are_available() -> None:
    found = ddpm.backends()
    assert list(found) == ["reference", "vectorized", "compiled", "triton", "native"]
    available = [name for name, why in found.items() if why == "available" and name != "triton"]
    assert available == ["reference", "vectorized", "compiled", "native"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a CUDA device")
def test_triton_needs_a_device() -> None:
    assert diffusion().backend == "native"
    said = "backend 'triton' is not available: it needs a CUDA device, and the tensors are on 'cpu'"
    with pytest.raises(RuntimeError, match=said):
        diffusion("triton")
    with pytest.raises(RuntimeError, match=said):
        forward_process(oracle.points(3, 1), oracle.betas("constant", 5), backend="triton")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    backends.get("triton").missing.cache_clear()  # type: ignore[attr-defined]
    yield monkeypatch
    backends.get("triton").missing.cache_clear()  # type: ignore[attr-defined]


def test_triton_takes_the_cpu_where_it_is_interpreted(interpreted: pytest.MonkeyPatch) -> None:
    assert backends.get("triton").missing("cpu") is None
    assert backends.choose(None).name == "native"  # the interpreter is slow, so it must be asked for


def test_triton_missing_or_too_old(interpreted: pytest.MonkeyPatch) -> None:
    interpreted.setattr(importlib.metadata, "version", lambda name: "3.5.1")
    with pytest.raises(RuntimeError, match=r"needs Triton 3\.6 or later, and 3\.5\.1 is installed"):
        backends.choose("triton")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    backends.get("triton").missing.cache_clear()  # type: ignore[attr-defined]
    interpreted.setattr(importlib.metadata, "version", missing)
    with pytest.raises(RuntimeError, match="Triton is not installed: pip install triton"):
        backends.choose("triton")


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler() -> None:
    assert ddpm.backends()["vectorized"] == "available"
    said = "needs a C\\+\\+ compiler and 'no-such-compiler' is not on PATH: install it or set CXX"
    with pytest.raises(RuntimeError, match=f"backend 'compiled' is not available: .*{said}"):
        diffusion("compiled")
    with pytest.raises(RuntimeError, match=said):
        forward_process(oracle.points(3, 1), oracle.betas("constant", 5), backend="compiled")
    with pytest.raises(RuntimeError, match=said):
        noise.normal(3, backend="compiled")
    # if no backend is named, the best available one is used, with one warning
    instead = (
        "backend 'vectorized' is used, because 'native' is not available: CXX is 'no-such-compiler', which is not on"
    )
    with pytest.warns(RuntimeWarning, match=instead) as said_once:
        used = [diffusion().backend for _ in range(2)]
    assert used == ["vectorized"] * 2
    assert len(said_once) == 1
    assert torch.equal(noise.normal(3), noise.normal(3, backend="vectorized"))


@pytest.mark.parametrize("name", ["cuda", "", "Compiled"])
def test_unknown_backend_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"backend must be one of .*, or None; got '{name}'"):
        diffusion(name)


def test_any_network_takes_the_best_backend() -> None:
    assert diffusion(hidden=(4, 4)).backend == diffusion().backend
    assert diffusion(hidden=(4, 4)).double().backend == "reference"  # the only backend in float64


def test_import_needs_no_compiler_and_compiles_nothing() -> None:
    code = (
        "import ddpm, sys; assert 'triton' not in sys.modules; assert 'torch._inductor.compile_fx' not in sys.modules;"
        "d = ddpm.Diffusion(ddpm.GaussianMLP(1), ddpm.Schedule.constant(5, 0.1)); print(d.backend, d.sample(3).shape)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": "", "CXX": "no-such-compiler"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split(maxsplit=1)[:1] == ["vectorized"], ran.stderr
    assert ran.stderr.count("RuntimeWarning") == 1


def test_another_package_called_kernels_is_detected(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    command = [sys.executable, "-c", "import ddpm"]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "ImportError: another distribution's package 'kernels'" in ran.stderr
    assert str(tmp_path / "kernels") in ran.stderr


def test_a_backend_with_one_op(monkeypatch: pytest.MonkeyPatch) -> None:
    def normal(count: int, dim: int, steps: int, place: Place, stream: int, device: torch.device) -> torch.Tensor:
        return torch.full((steps, count, dim), float(place.seed), device=device)

    tiny = Backend("tiny", ops={"noise": SimpleNamespace(normal=normal)})
    monkeypatch.setitem(backends.REGISTERED, "tiny", tiny)
    assert torch.equal(noise.normal(3, 2, seed=7, backend="tiny"), torch.full((1, 3, 2), 7.0))
    assert ddpm.backends()["tiny"] == "available"
    x0, betas = oracle.points(3, 1), oracle.betas("constant", 5)
    network = oracle.pair(oracle.weights(1, 4))
    for op, call in {
        "forward_process": lambda: forward_process(x0, betas, backend="tiny"),
        "variational_bound": lambda: variational_bound(network, x0, betas, backend="tiny"),
        "reverse_process": lambda: reverse_process(network, 5, 3, backend="tiny"),
        "transition_bound": lambda: transition_bound(x0, x0, x0.abs() + 1, backend="tiny"),
        "reverse_step": lambda: reverse_step(x0, x0, 1, backend="tiny"),
    }.items():
        with pytest.raises(ValueError, match=f"backend 'tiny' has no {op}; it has noise"):
            call()

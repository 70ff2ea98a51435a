"""Fixtures, and the choice of the tests that run in this process.

Tests of Triton run interpreted, emulated or on CUDA. All other tests run in a process that neither interprets nor
emulates.
"""

import dataclasses
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import torch

from kernels import backends
from kernels.triton import launch

# A shell starts the background jobs of a script with Ctrl-C ignored. Tests that send it would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if oracle.EMULATED:
    from ptx import emulation

    emulation.start(int(oracle.EMULATED))
    triton = dataclasses.replace(backends.get("triton"), missing=lambda device_type: None)
    backends.REGISTERED["triton"] = triton


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if runs_here(item)]
    config.hook.pytest_deselected(items=[item for item in items if not runs_here(item)])
    items[:] = kept


def runs_here(item: pytest.Item) -> bool:
    if item.get_closest_marker("triton") is not None:
        return oracle.TRITON
    return not oracle.INTERPRETED and not oracle.EMULATED


@pytest.fixture(autouse=True)
def few_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Use one thread in tests marked one_thread, so that the workers of pytest-xdist do not wait for one another."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("one_thread") is not None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def memory_of_nan(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let torch.empty return NaN in tests of our own kernels: it shows elements that were not written."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    own = request.node.get_closest_marker("triton") is not None or parameters.get("backend") == "native"
    torch.use_deterministic_algorithms(own)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def few_programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit Triton's launches to few programs, so that each must go on to other samples, on a GPU too."""
    if request.node.get_closest_marker("triton") is not None:
        monkeypatch.setattr(launch, "warps", lambda device: 3)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write 50 points in the plane to a .npy file, for the commands, and return its path."""
    path = tmp_path / "data.npy"
    np.save(path, np.random.default_rng(0).standard_normal((50, 2)))
    return path


@pytest.fixture
def flowers() -> Any:
    """Return a table with all kinds of columns, and the classes in its middle."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    kinds = rng.choice(["rose", "tulip"], 200)
    return pd.DataFrame(
        {
            "length, cm": (rng.standard_normal(200) + (kinds == "rose")).round(1),
            "petals": rng.integers(3, 9, 200),
            "kind": kinds,
            "wild": rng.random(200) < 0.3,
            "weight": rng.gamma(2, 1, 200),
        }
    )

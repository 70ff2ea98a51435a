"""Which tests run where: those of Triton interpreted, emulated or on CUDA, all others in an ordinary process."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch

from kernels import backends
from kernels.triton import launch

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
    """One thread for tests that are marked so: the workers of pytest-xdist then do not wait for one another."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("one_thread") is not None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def memory_of_nan(request: pytest.FixtureRequest) -> Iterator[None]:
    """torch.empty gives NaN, so that an element that a kernel forgets to write shows."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    torch.use_deterministic_algorithms(parameters.get("backend") in ("native", "triton"))
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def few_programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch of Triton's has few programs, so that each has to go on to other samples, on a GPU too."""
    if request.node.get_closest_marker("triton") is not None:
        monkeypatch.setattr(launch, "warps", lambda device: 3)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A .npy file of 50 points in the plane, for the commands."""
    path = tmp_path / "data.npy"
    np.save(path, np.random.default_rng(0).standard_normal((50, 2)))
    return path

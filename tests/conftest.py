"""Which tests run where: those of Triton in its interpreter or on CUDA, all others in an ordinary process."""

from collections.abc import Iterator

import oracle
import pytest
import torch

from kernels.triton import launch


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if runs_here(item)]
    config.hook.pytest_deselected(items=[item for item in items if not runs_here(item)])
    items[:] = kept


def runs_here(item: pytest.Item) -> bool:
    if item.get_closest_marker("triton") is not None:
        return oracle.TRITON
    return not oracle.INTERPRETED


@pytest.fixture(autouse=True)
def few_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread for tests that are marked so: the workers of pytest-xdist then do not wait for one another."""
    threads = torch.get_num_threads()
    if request.node.get_closest_marker("one_thread") is not None:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def harder_for_triton(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.empty gives NaN, so that an element that a kernel forgets to write shows; programs are few, so that each
    has to go on to other samples, on a GPU too."""
    if request.node.get_closest_marker("triton") is None:
        yield
        return
    monkeypatch.setattr(launch, "warps", lambda device: 3)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)

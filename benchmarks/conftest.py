"""What the benchmarks share: what is written down about the machine, and the names of the rivals."""

from typing import Any

import pytest
import torch

from kernels import backends

RIVALS = ("tutorial", "vectorized", "compiled")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Beside the processor, which pytest-benchmark names itself."""
    machine_info["torch"] = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }


@pytest.fixture(params=RIVALS)
def rival(request: pytest.FixtureRequest) -> str:
    """Who does the work: the tutorial's loops (each op's reference, eager), or a backend."""
    if request.param != "tutorial" and (reason := backends.missing(request.param)):
        pytest.skip(reason)
    return request.param

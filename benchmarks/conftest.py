"""What the benchmarks share: what is written down about the machine, the cases and the names of the rivals."""

import shutil
import subprocess
from typing import Any

import pytest
import torch

from kernels import backends

RIVALS = ("tutorial", "vectorized", "compiled", "triton")
CASES = [("cpu", 1000), ("cpu", 20_000), ("cuda", 1000), ("cuda", 1_000_000)]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Beside the processor, which pytest-benchmark names itself."""
    machine_info["torch"] = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.cuda.is_available() and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,clocks.max.memory", "--format=csv"]
        machine_info["cuda"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[torch.device, int]:
    """A device and a number of points."""
    device, count = request.param
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    return torch.device(device), count


@pytest.fixture(params=RIVALS)
def rival(request: pytest.FixtureRequest, case: tuple[torch.device, int]) -> str:
    """Who does the work: the tutorial's loops (each op's reference, eager), or a backend."""
    if request.param != "tutorial" and (reason := backends.missing(request.param, case[0].type)):
        pytest.skip(reason)
    if request.param == "tutorial" and case[1] > 20_000:
        pytest.skip("autograd would keep every step of every point")
    return request.param

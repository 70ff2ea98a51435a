"""A call's memory beyond its inputs and outputs does not grow with the number of points."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ddpm
from benchmarks.measuring import peak_extra_bytes

COUNT = 130_000  # a trajectory of them would take 130 MB, and autograd's copies 3 GB
LIMIT = 100e6  # bytes; blocks take 6 MB on `compiled` and 70 MB on `vectorized`, less than 1 on `native`


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("backend", ["vectorized", "compiled", "native"])
def test_no_trajectory_is_kept(backend: str) -> None:
    diffusion = ddpm.Diffusion(ddpm.GaussianMLP(dim=1, hidden=(4,)), ddpm.Schedule.constant(250, 0.02), backend)
    x0 = ddpm.datasets.mixture(COUNT)
    diffusion.backward(x0[:1])  # compiles
    diffusion.sample(1)
    for call in (lambda: diffusion.backward(x0), lambda: diffusion.sample(COUNT)):
        extra = peak_extra_bytes(call, "cpu")
        assert extra is not None
        assert extra < LIMIT


FAULTS = """
import resource, ddpm
diffusion = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,)), ddpm.Schedule.constant(250, 0.02), "vectorized")
x0 = ddpm.datasets.mixture(1000)
diffusion.backward(x0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    diffusion.backward(x0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="is about glibc")
def test_a_fresh_process_reuses_its_memory() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 10_000  # 100,000 if glibc returns freed memory to the system

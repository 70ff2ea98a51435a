"""What a call needs beyond its inputs and outputs does not grow with the number of points."""

import sys

import pytest

import ddpm
from benchmarks.measuring import peak_extra_bytes

COUNT = 200_000  # a trajectory of them would take 200 MB, and autograd's copies 5 GB
LIMIT = 100e6  # bytes; blocks take 6 MB on `compiled` and 70 MB on `vectorized`


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("backend", ["vectorized", "compiled"])
def test_no_trajectory_is_kept(backend: str) -> None:
    diffusion = ddpm.Diffusion(ddpm.GaussianMLP(dim=1, hidden=(4,)), ddpm.Schedule.constant(250, 0.02), backend)
    x0 = ddpm.datasets.mixture(COUNT)
    diffusion.backward(x0[:1])  # compiles
    diffusion.sample(1)
    for call in (lambda: diffusion.backward(x0), lambda: diffusion.sample(COUNT)):
        extra = peak_extra_bytes(call, "cpu")
        assert extra is not None
        assert extra < LIMIT

"""How much memory the bound and its gradients take beyond the data, at the peak, each in a process of its own."""

import ctypes
import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

LIMIT = 200  # MB for 200,000 points: what a whole trajectory of them alone would take


def resident(field: str) -> float:
    """VmRSS, what this process holds now, or VmHWM, the most that it ever held; MB."""
    # not getrusage: a child's ru_maxrss starts at what its parent held
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1000


def measure(rival: str, count: int) -> float:
    """MB at the peak of one call, beyond what the process held before it."""
    from bench_variational_bound import build, differentiate

    from kernels.variational_bound import reference

    diffusion, x0 = build(count, "reference" if rival == "tutorial" else rival)

    def bound(n: int) -> None:
        if rival == "tutorial":
            betas = diffusion.schedule.betas.float()
            differentiate(diffusion, lambda: reference.variational_bound(diffusion.network, x0[:n], betas))
        else:
            differentiate(diffusion, lambda: diffusion.loss(x0[:n]))

    bound(1)  # compiles
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator keeps would hide what the call takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    bound(count)
    return resident("VmHWM") - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("rival", ["tutorial", "vectorized", "compiled"])
@pytest.mark.parametrize("count", [20_000, 200_000])
def test_peak_memory(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], count: int, rival: str) -> None:
    if rival == "tutorial" and count > 20_000:
        pytest.skip("autograd would keep several GB")
    benchmark.group = f"memory of the bound and gradients, N = {count}: time of the whole process"
    command = [sys.executable, __file__, rival, str(count)]
    run = benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True, "text": True})
    benchmark.extra_info["peak_extra_mb"] = peak = float(run.stdout)
    with capsys.disabled():
        print(f"\n{rival}, N = {count}: {peak:.0f} MB beyond the data")
    assert rival == "tutorial" or peak < LIMIT


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(measure(sys.argv[1], int(sys.argv[2])))

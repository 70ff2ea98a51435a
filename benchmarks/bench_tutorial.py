"""The whole tutorial as a process of its own, from its start to its end: 1000 training steps, 1000 samples.

Cold is with no compiler's cache, warm with what the run before it left there; imports are in both.
"""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

import ddpm
from benchmarks import rivals
from benchmarks.cases import Case
from benchmarks.problem import Problem

ITERATIONS = {"tiny": 2, "short": 1000, "full": 1000}

# Nats above the entropy of the data, which no model gets under but by luck of its draws: what the tutorial's network
# comes to, give or take what its initial weights and its noise do.
BEST, WORST = -0.1, 1.0


@functools.cache
def empty_caches(name: str, device: str) -> dict[str, str]:
    """Where compilers keep what they have done, and that they keep all of it; filled by the first run."""
    folder = tempfile.mkdtemp(prefix="benchmark")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    places = {"TORCHINDUCTOR_CACHE_DIR": folder, "TRITON_CACHE_DIR": folder, "JAX_COMPILATION_CACHE_DIR": folder}
    keep_all = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    return places | keep_all


def run(name: str, device: str, iterations: int, caches: dict[str, str]) -> dict[str, Any]:
    """Run the tutorial as a process, and return what it reports."""
    command = [sys.executable, "-m", "benchmarks.bench_tutorial", name, device, str(iterations)]
    finished = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_tutorial(benchmark: BenchmarkFixture, name: str, case: Case, turn: str, size: str) -> None:
    benchmark.group = f"tutorial {case.device} {turn}"
    caches = {} if size == "tiny" else empty_caches(name, case.device)  # compiling takes a minute
    found = benchmark.pedantic(run, (name, case.device, ITERATIONS[size], caches), rounds=1)
    benchmark.extra_info |= {"rival": name, "turn": turn, **vars(case), **found}
    if size != "tiny":
        assert BEST < found["bound"] - ddpm.datasets.mixture_entropy() < WORST


def main(name: str, device: str, iterations: str) -> None:
    """The process that is timed."""
    problem = Problem(Case("tutorial", device=device))
    losses, samples = rivals.load(name).train_and_sample(problem, int(iterations))
    assert tuple(samples.shape) == (problem.case.N, problem.case.D)
    last = losses[-50:]
    print(json.dumps({"bound": float(sum(last) / len(last)) * (problem.case.T + 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Benchmark of the whole tutorial as a new process, from start to end: 1000 training steps, 1000 samples.

A cold run starts with empty compiler caches, a warm run with those that the run before filled. Both include imports.
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

# Limits for the bound, in nats above the entropy of the data. A model can only be below the entropy if its draws are
# lucky. The rest is room for the tutorial's network, its initial weights and its noise.
BEST, WORST = -0.1, 1.0


@functools.cache
def empty_caches(name: str, device: str) -> dict[str, str]:
    """Return an environment with empty compiler caches that keep everything. The first run fills them."""
    folder = tempfile.mkdtemp(prefix="benchmark")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    places = {"TORCHINDUCTOR_CACHE_DIR": folder, "TRITON_CACHE_DIR": folder, "JAX_COMPILATION_CACHE_DIR": folder}
    keep_all = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    return places | keep_all


def run(name: str, device: str, iterations: int, caches: dict[str, str]) -> dict[str, Any]:
    """Run the tutorial as a new process, and return what it reports."""
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
    """Run the tutorial, in the process that is timed, and print its bound."""
    problem = Problem(Case("tutorial", device=device))
    losses, samples = rivals.load(name).train_and_sample(problem, int(iterations))
    assert tuple(samples.shape) == (problem.case.N, problem.case.D)
    last = losses[-50:]
    print(json.dumps({"bound": float(sum(last) / len(last)) * (problem.case.T + 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

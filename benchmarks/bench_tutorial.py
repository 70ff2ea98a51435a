"""Benchmark of the whole tutorial as a new process, from start to end: 1000 training steps, 1000 samples.

A cold run starts with empty caches of every compiler, ours included. A warm run starts with those that the run before
filled. Both include imports.
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
ROUNDS = {"tiny": 1, "short": 1, "full": 3}  # of all but the tutorial itself, which takes minutes

# Limits for the bound, in nats above the entropy of the data. A model can only be below the entropy if its draws are
# lucky. The rest is room for the tutorial's network, its initial weights and its noise.
BEST, WORST = -0.1, 1.0


@functools.cache
def caches_of(name: str, device: str) -> str:
    """Return the folder in which all compilers of a rival keep their caches."""
    folder = tempfile.mkdtemp(prefix="benchmark")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def kept_in(folder: str) -> dict[str, str]:
    """Return the environment in which compilers keep everything in a folder."""
    names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
    keep_all = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    return dict.fromkeys(names, folder) | keep_all


def run(name: str, device: str, iterations: int, caches: dict[str, str]) -> dict[str, Any]:
    """Run the tutorial as a new process, and return what it reports."""
    command = [sys.executable, "-m", "benchmarks.bench_tutorial", name, device, str(iterations)]
    finished = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_tutorial(benchmark: BenchmarkFixture, name: str, case: Case, turn: str, size: str) -> None:
    benchmark.group = f"tutorial {case.device} {turn}"
    folder = caches_of(name, case.device)
    caches = {} if size == "tiny" else kept_in(folder)  # compiling takes a minute

    def prepare() -> tuple[tuple[Any, ...], dict[str, Any]]:
        if turn == "cold":
            shutil.rmtree(folder)
        return (name, case.device, ITERATIONS[size], caches), {}

    rounds = 1 if name == "tutorial" else ROUNDS[size]
    found = benchmark.pedantic(run, setup=prepare, rounds=rounds)
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

"""What this machine can do at most, measured at the start of a run: the roof under which every kernel stands."""

import functools
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.measuring import waited_for
from kernels import backends
from kernels.compiler import Kernel

ROUNDS = 9
CHAINS, LENGTH = 10, 16  # multiply-adds of which so many can be under way at once that no unit waits


def multiply_adds(x: torch.Tensor) -> torch.Tensor:
    """CHAINS * LENGTH for each element."""
    values = [x + i for i in range(CHAINS)]
    for _ in range(LENGTH):
        values = [value * x + 0.5 for value in values]
    return functools.reduce(torch.add, values)


def measure(device: str, size: str = "full") -> dict[str, float]:
    """Operations of a lane, and bytes of memory, a second.

    An operation is what a lane of a vector unit does in an instruction; a multiply-add counts as one. On a CPU the rate
    is that of a compiled loop of nothing but multiply-adds, or of a matrix product if that is faster; units that run
    beside those of the multiply-adds can make a kernel exceed it. On CUDA it is the rate at which instructions are
    issued, at the highest clock. Bytes are those of a sum of two long vectors, read and written.
    """
    scale = 16 if size == "tiny" else 1
    a, b, c = (torch.ones(2**26 // scale, device=device) for _ in range(3))
    found = {"bytes": 12 * len(a) / median_seconds(lambda: torch.add(a, b, out=c), device)}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return found | {"operations": 128 * properties.multi_processor_count * 1e3 * properties.clock_rate}
    n = 2048 // scale
    p, x = torch.randn(n, n), torch.rand(2**18 // scale)
    rates = [n**3 / median_seconds(lambda: p @ p, device)]
    if backends.missing("compiled") is None:
        chains = Kernel(multiply_adds, realize_opcount_threshold=10_000)
        rates.append(len(x) * CHAINS * LENGTH / median_seconds(lambda: chains(x), device))
    return found | {"operations": max(rates)}


def median_seconds(run: Callable[[], object], device: str) -> float:
    """Of a call that waits, after one that warms up."""
    run, seconds = waited_for(run, device), []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])

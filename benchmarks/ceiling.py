"""The ceilings of this machine, measured at the start of a run: the roof under which every kernel stands."""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.measuring import waited_for

ROUNDS = 9


def measure(device: str, size: str = "full") -> dict[str, float]:
    """Operations of a lane, and bytes of memory, a second.

    An operation is what a lane of a vector unit does in an instruction; a multiply-add counts as one. On a CPU the rate
    is that of a matrix product, which is nothing but multiply-adds; units that run beside those of the multiply-adds
    can make a kernel exceed it. On CUDA it is the rate at which instructions are
    issued, at the highest clock. Bytes are those of a sum of two long vectors, read and written.
    """
    scale = 16 if size == "tiny" else 1
    a, b, c = (torch.ones(2**26 // scale, device=device) for _ in range(3))
    found = {"bytes": 12 * len(a) / median_seconds(lambda: torch.add(a, b, out=c), device)}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return found | {"operations": 128 * properties.multi_processor_count * 1e3 * properties.clock_rate}
    n = 2048 // scale
    p = torch.randn(n, n)
    return found | {"operations": n**3 / median_seconds(lambda: p @ p, device)}


def median_seconds(run: Callable[[], object], device: str) -> float:
    """Of a call that waits, after one that warms up."""
    run, seconds = waited_for(run, device), []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])

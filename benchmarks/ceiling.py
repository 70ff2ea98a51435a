"""The ceilings of this machine: the highest rates that a kernel can expect. Measured at the start of a run."""

import time
from collections.abc import Callable

import torch

from benchmarks.measuring import waited_for

ROUNDS = 10  # the first of which warms up


def measure(device: str, size: str = "full") -> dict[str, float]:
    """Return operations per second and bytes of memory per second.

    An operation is what one lane of a vector unit does in one instruction. A multiply-add counts as one. On a CPU the
    rate is that of a matrix product, which consists of multiply-adds. A kernel can exceed it if it also uses units that
    run beside those of the multiply-adds. On CUDA it is the rate at which instructions are issued at the highest clock.
    The bytes are those that a sum of two long vectors reads and writes.
    """
    scale = 16 if size == "tiny" else 1
    a, b, c = (torch.ones(2**26 // scale, device=device) for _ in range(3))
    found = {"bytes": 12 * len(a) / shortest_seconds(lambda: torch.add(a, b, out=c), device)}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return found | {"operations": 128 * properties.multi_processor_count * 1e3 * properties.clock_rate}
    n = 2048 // scale
    p = torch.randn(n, n)
    return found | {"operations": n**3 / shortest_seconds(lambda: p @ p, device)}


def shortest_seconds(run: Callable[[], object], device: str) -> float:
    """Return the shortest time of a call in seconds. It includes waiting for the device.

    Other users of a machine can only make a call longer.
    """
    run, seconds = waited_for(run, device), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)

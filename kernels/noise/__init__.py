"""The noise stream: standard normals that can be computed anywhere, in any order.

Each normal is computed from its coordinates: seed, index of the sample, step t, training iteration `step`, stream,
dimension. The device, the launch grid and the place in a batch do not matter::

    key      = (seed low 32 bits, seed high 32 bits)
    counter  = (index low 32 bits, index high 16 bits << 16 | (t - 1) // 4, step, stream << 24 | dimension)
    4 words  -> 2 Box-Muller pairs -> the normals of the four steps t = 4 k + 1 ... 4 k + 4

The index of the sample has 48 bits. The words w come from Philox4x32-10 (Salmon et al. 2011). A pair of normals has
u = (w + 1/2) 2^-32 for the radius and 2 pi w 2^-32 for the angle, cos first. The words are equal bit for bit on every
backend and device. The normals of `native` and `triton` are also equal to each other bit for bit. Those of the other
backends are equal to a few units in the last place.
"""

import torch
from torch import Tensor

from kernels import arguments, backends
from kernels.constants import DATA, DRAWS, FORWARD, REVERSE, TERMINAL
from kernels.modes import arithmetic
from kernels.place import MOST_SAMPLES, MOST_STEPS, Place

__all__ = ["DATA", "DRAWS", "FORWARD", "REVERSE", "TERMINAL", "normal"]


def normal(
    count: int,
    dim: int = 1,
    steps: int = 1,
    *,
    seed: int = 0,
    step: int | Tensor = 0,
    first: int = 0,
    stream: int = FORWARD,
    device: torch.device | str = "cpu",
    backend: str | None = None,
) -> Tensor:
    """Return standard normals of the noise stream.

    Args:
        count, dim, steps: the number of samples, of elements of a sample, and of steps t = 1, 2, ... (at most 2^18).
        seed: a 64-bit integer.
        step: the training iteration, an int or a 0-d integer tensor on the device.
        first: the index of the first sample; first + count is at most 2^48.
        stream: what the normals are for: FORWARD, REVERSE, TERMINAL, DATA or DRAWS.
        device: where the normals are computed.
        backend: a name, or None for the best on the device.

    Returns:
        [steps, count, dim] float32; row t - 1 belongs to step t.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available.
    """
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    count = arguments.integer("count", count, 0, MOST_SAMPLES)
    dim = arguments.integer("dim", dim, 1, 2**24)
    steps = arguments.integer("steps", steps, 1, MOST_STEPS)
    stream = arguments.integer("stream", stream, 0, 255)
    place = Place(seed, step, first).checked(count, device)
    implementation = backends.choose(backend, device.type).implementation("noise")
    with arithmetic(device.type):
        return implementation.normal(count, dim, steps, place, stream, device)

"""Which Triton kernel holds which network, and how many elements one launch can count. Imports no Triton."""

MAX_DIM, MAX_HIDDEN = 8, 64
MOST = 2**31 - 2**12

LANES = 32  # of a warp. If there are too few samples for all warps, a warp computes 32 groups of four steps at once.
# From this many samples on, each lane has its own sample: 2 warps for every scheduler of an H100 (132 SMs, 4 each).
# On an H100 both ways take 66 us at N = 30,000. With a sample for each lane the bound takes 47 instead of 28 us at
# 10,000, and 180 instead of 204 us at 100,000.
MANY = 132 * 4 * 2 * 32


def refuses(dim: int, hidden: int) -> str | None:
    """Return why the whole-chain kernels cannot hold a network of one hidden layer, or None if they can."""
    if dim <= MAX_DIM and hidden <= MAX_HIDDEN:
        return None
    return (
        f"its kernels hold one hidden layer with D up to {MAX_DIM} and H up to {MAX_HIDDEN}; "
        f"got D = {dim}, H = {hidden}"
    )


def is_unrolled(dim: int, hidden: int, tables: bool = False) -> bool:
    """Return whether a kernel keeps a network in the registers of each thread (see unrolled.py, else wide.py).

    The limit is 255 registers a thread. D * H = 12 uses all of them, without a spill; with tables by step D * H = 10
    does. Code size and compile time grow with D (D = 3: 10 s, D = 8: 40 s).
    """
    return dim <= 3 and dim * hidden <= (10 if tables else 12)


def wide_sizes(dim: int, hidden: int) -> dict[str, int]:
    """Return the sizes of a wide kernel's blocks: as many samples a program as the registers hold, and at most 8."""
    dims, units = _power_of_2(dim), max(16, _power_of_2(hidden))
    return {"D": dim, "H": hidden, "DIMS": dims, "UNITS": units, "BLOCK_N": min(8, 1024 // (dims * units))}


def _power_of_2(size: int) -> int:
    return 1 << (size - 1).bit_length()


def check_elements(elements: int) -> None:
    """Raise unless 32 bits can count the elements of all samples at one step, with the padding of the last block."""
    if elements > MOST:
        raise ValueError(f"backend 'triton' takes at most {MOST} elements (samples times dimensions); got {elements}")

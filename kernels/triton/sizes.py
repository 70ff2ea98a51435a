"""Which Triton kernel takes which network, and how much of everything one launch can count. Imports no Triton."""

MAX_DIM, MAX_HIDDEN = 8, 64
MOST = 2**31 - 2**12

LANES = 32  # groups of four steps that a warp walks through together, where the samples are too few for all warps
# From this many samples on a lane has a sample for itself: 2 warps for every scheduler of an H100 (132 SMs, 4 each).
# There, both ways take 66 us at N = 30,000; at 10,000 this takes 47 instead of 28, at 100,000 180 instead of 204.
MANY = 132 * 4 * 2 * 32


def refuses(dim: int, hidden: int) -> str | None:
    """Return why the whole-chain kernels cannot hold a network of one hidden layer, None where they can."""
    if dim <= MAX_DIM and hidden <= MAX_HIDDEN:
        return None
    return (
        f"its kernels hold one hidden layer with D up to {MAX_DIM} and H up to {MAX_HIDDEN}; "
        f"got D = {dim}, H = {hidden}"
    )


def is_unrolled(dim: int, hidden: int, tables: bool = False) -> bool:
    """Return whether a kernel keeps a network in the registers of each thread (see unrolled.py, else wide.py).

    The limit is 255 registers a thread: D * H = 12 takes them all, without a spill, and with tables by step 10. Code,
    and the time to compile it, grow with D (D = 3: 10 s, D = 8: 40 s).
    """
    return dim <= 3 and dim * hidden <= (10 if tables else 12)


def wide_sizes(dim: int, hidden: int) -> dict[str, int]:
    """Return the sizes of a wide kernel's blocks: as many samples a program as the registers hold, and at most 8."""
    dims, units = _power_of_2(dim), max(16, _power_of_2(hidden))
    return {"D": dim, "H": hidden, "DIMS": dims, "UNITS": units, "BLOCK_N": min(8, 1024 // (dims * units))}


def _power_of_2(size: int) -> int:
    return 1 << (size - 1).bit_length()


def check_elements(elements: int) -> None:
    """Raise unless the elements of all samples, at one step, can be counted in 32 bits, with those of a last block."""
    if elements > MOST:
        raise ValueError(f"backend 'triton' takes at most {MOST} elements (samples times dimensions); got {elements}")

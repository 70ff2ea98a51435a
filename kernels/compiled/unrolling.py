"""Decides which networks the compiled kernels unroll."""

MOST = 8


def is_unrolled(dim: int, hidden: int) -> bool:
    """Return whether kernels unroll a network's units: their code, and the time to compile it, grow with D * H."""
    return dim * hidden <= MOST

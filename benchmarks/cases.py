"""The cases to measure: each operation at the tutorial's size, and with one size at a time changed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Case:
    """An operation and its size: N samples of D dimensions, T steps, H hidden units in each network."""

    op: str
    N: int = 1000
    T: int = 250
    D: int = 1
    H: int = 4
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.op} {self.device} N={self.N} T={self.T} D={self.D} H={self.H}"


# the axes along which an operation's cost grows
AXES = {
    "noise": "NTD",
    "forward_process": "NTD",
    "variational_bound": "NTDH",
    "training_step": "NTDH",
    "reverse_process": "NTDH",
}
OPS = (*AXES, "tutorial")
DEVICES = ("cpu", "cuda")

FULL = {
    "N": (100, 1000, 10_000, 100_000, 1_000_000),
    "T": (50, 250, 1000, 4000),
    "D": (1, 2, 4, 8, 16),
    "H": (4, 8, 16, 32, 64, 128),
}
SHORT = {"cpu": 20_000, "cuda": 1_000_000}  # the only other N of a short run

# for the tests: nothing takes long
TINY = {"N": 16, "T": 2}


def cases(op: str, size: str, device: str) -> Iterator[Case]:
    """Yield the cases of an operation, no case twice."""
    if size == "tiny":
        yield Case(op, **TINY, device=device)
        return
    points = FULL if size == "full" else {"N": (SHORT[device],)}
    origin = Case(op, device=device)
    yield origin
    for axis in AXES.get(op, ""):
        for value in points.get(axis, ()):
            case = replace(origin, **{axis: value})  # type: ignore[arg-type]
            if case != origin:
                yield case

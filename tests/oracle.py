"""Helpers for the tests of several ops: cases, networks, schedules, data, and how an error is measured."""

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import ddpm
from kernels import backends
from kernels.networks import MLPPair, Network


def marked(name: str) -> Any:
    """Return the name of a backend as a test parameter; `triton` has its mark."""
    return pytest.param(name, marks=pytest.mark.triton) if name == "triton" else name


ALL = tuple(marked(name) for name in backends.REGISTERED)
FUSED = tuple(marked(name) for name, backend in backends.REGISTERED.items() if not backend.by_autograd)
BACKENDS = tuple(name for name in FUSED if isinstance(name, str))

# Triton's tests run in Triton's interpreter with TRITON_INTERPRET=1, and as PTX for sm_90 on an emulated machine (see
# ptx) with EMULATE=90. Each of the two needs a process of its own. Otherwise they run on CUDA, if there is a device.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
EMULATED = os.environ.get("EMULATE")
TRITON = INTERPRETED or EMULATED is not None or torch.cuda.is_available()

# The grid of every equality test. Dimensions: one and several. Widths: below, at and above those that compiled kernels
# unroll. Counts: one sample, two, part of a block, and a last block that is nearly empty. Steps: less than a group of
# four, some groups, and the tutorial's number.
DIMS = (1, 2, 5)
WIDTHS = (1, 4, 7, 33)
COUNTS = (1, 2, 1000, 1003)
STEPS = (1, 2, 37, 250)

# Triton's grid is small because its interpreter is slow. It has counts below, at and above the size of a block (32
# samples or 1; 8, 4 or 2 for wide networks), parts of a group of steps and of a tile of time, and for most dimensions
# networks that are unrolled and networks that are not.
TRITON_CASES = [
    (1, 1, 1, 1),
    (1, 4, 1, 5),
    (1, 4, 9, 150),
    (1, 7, 31, 5),
    (1, 12, 4, 2),
    (1, 16, 9, 5),
    (1, 33, 8, 37),
    (2, 4, 33, 37),
    (2, 7, 7, 2),
    (2, 33, 3, 5),
    (3, 4, 5, 37),
    (3, 7, 4, 2),
    (8, 1, 3, 5),
    (8, 16, 9, 1),
    (8, 33, 4, 37),
    (5, 64, 5, 5),
]


def cases(backend: str, of: Iterable[tuple[int, ...]], letters: str = "DHNT") -> list[Any]:
    """Return test parameters (backend, *size) with ids such as D1-H4-N1000-T250-vectorized."""
    name = marked(backend)
    marks = () if isinstance(name, str) else name.marks
    if backend in ("vectorized", "native"):
        marks = pytest.mark.one_thread
    return [pytest.param(backend, *size.values, id=f"{size.id}-{backend}", marks=marks) for size in sizes(letters, of)]


def grid(chosen: Iterable[tuple[int, int, int]]) -> list[Any]:
    """Return the grid: all cases on `native`, half on `vectorized`, `chosen` (D, H, T) on `compiled`, and Triton's."""
    compiled = [(dim, hidden, count, steps) for dim, hidden, steps in chosen for count in COUNTS]
    return [
        *cases("native", itertools.product(DIMS, WIDTHS, COUNTS, STEPS)),
        *cases("vectorized", itertools.product(DIMS, WIDTHS, (1, COUNTS[-1]), STEPS)),
        *cases("compiled", compiled),
        *cases("triton", TRITON_CASES),
    ]


def sizes(letters: str, of: Iterable[tuple[int, ...]]) -> list[Any]:
    """Return test parameters with ids such as D1-H4-T250."""
    return [
        pytest.param(*size, id="-".join(f"{letter}{n}" for letter, n in zip(letters, size, strict=True))) for size in of
    ]


SCHEDULES = ("constant", "linear", "cosine", "extreme")


def device(backend: str) -> torch.device:
    """Return the device on which a backend is tested.

    For Triton it is CUDA, or the CPU if Triton is interpreted or emulated. For the others it is TEST_DEVICE.
    """
    if backend == "triton":
        return torch.device("cpu" if INTERPRETED or EMULATED else "cuda")
    return torch.device(os.environ.get("TEST_DEVICE", "cpu"))


def betas(name: str, steps: int) -> Tensor:
    """Return betas, [steps] float64. Those of "extreme" lie between almost 0 (no noise) and almost 1 (only noise)."""
    if name == "constant":
        return torch.full((steps,), 0.02, dtype=torch.float64)
    if name == "linear":
        return torch.linspace(1e-4, 0.2, steps, dtype=torch.float64)
    if name == "cosine":
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha_bar = torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)
    generator = torch.Generator().manual_seed(steps)
    return torch.sigmoid(torch.empty(steps, dtype=torch.float64).uniform_(-9, 9, generator=generator))


def schedule_for(*sizes: int) -> str:
    """Return the schedule for a point of the grid: each schedule meets each size without all their combinations."""
    return SCHEDULES[sum(sizes) % len(SCHEDULES)]


def points(count: int, dim: int, draw: int = 0) -> Tensor:
    """Return data of two clusters, [count, dim] float32."""
    generator = torch.Generator().manual_seed(draw)
    x = torch.randn(count, dim, generator=generator)
    return x + 4 * torch.randint(0, 2, (count, 1), generator=generator) - 2


def draws(count: int, steps: int) -> range:
    """Return the draws of data and noise over which an error is taken.

    With one sample and one step, any float32 result (the reference's too) is sometimes exact by luck. Over 200 draws
    the backends' mean errors are then 0.96 of the reference's in the median and at most 1.6. So small cases need more
    draws, not a wider tolerance.
    """
    if count <= 3:
        return range(32 if steps <= 2 else 8 if steps < 100 else 4)
    return range(4 if steps <= 2 else 1)


def weights(dim: int, hidden: int, std_shift: float = 5.0) -> tuple[Tensor, ...]:
    """Return W1, b1, W2, b2 of the mean and of the std, float32.

    The last biases are raised until the mean lies to one side and the std is too large for every x_t, so that all
    samples pull a weight the same way. Otherwise a gradient may be a small difference of large sums: it has few correct
    digits, and luck decides the comparison. The hidden biases are raised because with one sample and one hidden unit,
    a unit that is off or nearly off gives gradients without a correct digit.
    """
    generator = torch.Generator().manual_seed(10 * dim + hidden)
    shapes = [(hidden, dim + 1), (hidden,), (dim, hidden), (dim,)] * 2
    drawn = [0.5 * torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for shape in shapes]
    for i, shift in ((1, 0.5), (3, 2.0), (5, 0.5), (7, std_shift)):
        drawn[i] = drawn[i] + shift
    return tuple(drawn)


def pair(weights: Sequence[Tensor], backend: str = "reference") -> MLPPair:
    """Return the weights as an MLPPair, on the test device of the backend."""
    return MLPPair.of_tensors([w.to(device(backend)) for w in weights])


def network(weights: Sequence[Tensor], kink: float = 0.0) -> Network:
    """Return the network of `weights`, in their dtype, written with torch.nn.functional.

    A hidden unit passes a gradient where its z > `kink`. Its value does not depend on `kink`.
    """

    def hidden(z: Tensor) -> Tensor:
        return torch.relu(z) if kink == 0 else torch.where(z > kink, z, torch.relu(z).detach())

    def apply(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat((x, t), dim=1)
        mean, s = (
            functional.linear(hidden(functional.linear(inputs, w1, b1)), w2, b2)
            for w1, b1, w2, b2 in (weights[:4], weights[4:])
        )
        return mean, functional.softplus(s).clamp_min(1e-6)

    return apply


def found(network: nn.Module, schedule: ddpm.Schedule, backend: str, x0: Tensor) -> list[Tensor]:
    """Return the loss, every gradient and samples of a model, on a backend."""
    model = ddpm.Diffusion(network, schedule, backend)
    model.zero_grad()
    loss = model.loss(x0)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *gradients, model.sample(20, seed=1)]


def ulps(value: Tensor, exact: np.ndarray) -> float:
    """Return the largest error of float32 `value`, in units in the last place of its float64 `exact`."""
    unit = np.ldexp(1.0, np.frexp(exact)[1] - 24)
    return float(np.max(np.abs(value.double().numpy() - exact) / unit))


def assert_as_exact(
    actual: Sequence[Tensor],
    single: Sequence[Tensor],
    exact: Sequence[Tensor],
    allowance: float,
    undecided: Callable[[], Sequence[Tensor]] | None = None,
) -> None:
    """Check that every tensor of `actual` is at most twice as far from `exact` as `single` is.

    Args:
        actual: the results of a backend.
        single, exact: the results of the reference in float32 and in float64, on the same noise.
        allowance: added to the bound, in float32 units in the last place of the largest magnitude of the tensor. It
            covers the luck that remains after `draws`.
        undecided: returns how far a rounding of float32 may move each number of `exact`. It is called only if an error
            exceeds the bound.
    """
    for i, (a, s, e) in enumerate(zip(actual, single, exact, strict=True)):
        assert a.shape == e.shape
        error, reference = ((v.double() - e).abs() for v in (a, s))
        most, unit = float(reference.max()), torch.finfo(torch.float32).eps * float(e.abs().max())
        bound = 2 * most + allowance * unit
        if undecided is not None and not float(error.max()) <= bound:
            error = error - undecided()[i]
        worst = float(error.max())
        assert worst <= bound, f"tensor {i}: error {worst / unit:.2f} units, the reference's {most / unit:.2f}"

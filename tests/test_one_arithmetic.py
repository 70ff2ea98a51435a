# mypy: disable-error-code="arg-type"
"""`triton` and `native` do the same operations in the same order, each rounded exactly: they give the same bits."""

import dataclasses
import functools

import numpy as np
import oracle
import pytest
import torch
from ptx import approximations
from torch import Tensor

import ddpm
from kernels import backends, noise
from kernels.constants import FORWARD, TERMINAL
from kernels.forward_process import forward_process
from kernels.networks import StepTables
from kernels.reverse_process import reverse_process
from kernels.reverse_step import reverse_step
from kernels.triton.launch import OPTIONS

pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(oracle.INTERPRETED, reason="Triton's interpreter rounds a multiply-add twice"),
    pytest.mark.skipif(backends.get("native").missing("cpu") is not None, reason="there is no C++ compiler"),
]

TRITON = oracle.device("triton")
PLACES = [{"seed": 0}, {"seed": 2**63 + 12345678901, "first": 3 * 2**32 - 5}]  # indices of 48 bits, across a carry
STD_SHIFTS = (5.0, 0.0, -13.8)


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("stream", [FORWARD, TERMINAL])
@pytest.mark.parametrize(("count", "dim", "steps"), oracle.sizes("NDT", [(1, 1, 1), (1000, 2, 37), (67, 5, 250)]))
def test_noise(count: int, dim: int, steps: int, stream: int, place: dict[str, int]) -> None:
    place = place | {"stream": stream, "step": 2**32 - 1}
    found = noise.normal(count, dim, steps, device=TRITON, backend="triton", **place)
    assert_same_bits(found, noise.normal(count, dim, steps, backend="native", **place))


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("schedule", oracle.SCHEDULES)
@pytest.mark.parametrize(("count", "dim", "steps"), oracle.sizes("NDT", [(1, 1, 1), (100, 3, 37), (33, 1, 100)]))
def test_forward_process(count: int, dim: int, steps: int, schedule: str, place: dict[str, int]) -> None:
    x0, betas = oracle.points(count, dim), oracle.betas(schedule, steps)
    found = forward_process(x0.to(TRITON), betas, backend="triton", step=3, **place)
    assert_same_bits(found, forward_process(x0, betas, backend="native", step=3, **place))


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("t", [1, 2, 3, 4, 37])
def test_reverse_step(t: int, place: dict[str, int]) -> None:
    mean, std = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(t)).unbind()
    found = reverse_step(mean.to(TRITON), std.to(TRITON), t, backend="triton", **place)
    assert_same_bits(found, reverse_step(mean, std, t, backend="native", **place))


@pytest.mark.parametrize("std_shift", STD_SHIFTS)
@pytest.mark.parametrize("steps", [1, 6, 37])
@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 1), (1, 4), (1, 12), (2, 6), (3, 4)]))
def test_reverse_process(dim: int, hidden: int, steps: int, std_shift: float) -> None:
    weights = oracle.weights(dim, hidden, std_shift)
    on_triton, on_native = oracle.pair(weights, "triton"), oracle.pair(weights)
    for place in PLACES:
        found = reverse_process(on_triton, steps, 70, history=True, backend="triton", **place)
        assert_same_bits(found, reverse_process(on_native, steps, 70, history=True, backend="native", **place))
        last = reverse_process(on_triton, steps, 70, backend="triton", **place)
        assert torch.equal(last, found[-1])


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (2, 5)]))
def test_reverse_process_with_tables(dim: int, hidden: int) -> None:
    schedule = ddpm.Schedule.log_snr(6)
    tables = ddpm.GaussianMLP(dim, (hidden,), preconditioned=schedule).tables
    assert tables is not None
    weights, found = oracle.weights(dim, hidden, std_shift=0.0), []
    for backend in ("triton", "native"):
        of_device = StepTables(*tables.to(oracle.device(backend)))
        pair = dataclasses.replace(oracle.pair(weights, backend), tables=of_device)
        found.append(reverse_process(pair, 6, 70, history=True, backend=backend))
    assert_same_bits(*found)


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 16), (8, 16)]))
def test_noise_of_wide_networks(dim: int, hidden: int) -> None:
    weights = [torch.zeros_like(w) for w in oracle.weights(dim, hidden)]
    weights[-1] += 30  # mean 0 and std 30, so that every state is noise
    for place in PLACES:
        found = reverse_process(oracle.pair(weights, "triton"), 6, 9, history=True, backend="triton", **place)
        expected = reverse_process(oracle.pair(weights), 6, 9, history=True, backend="native", **place)
        assert_same_bits(found, expected)


@functools.cache
def hard_roots(number: int) -> np.ndarray:
    """Return the float32 x in [1, 4) whose roots are closest to the middle between two float32 numbers."""
    x = np.arange(0x3F800000, 0x40800000, dtype=np.uint32).view(np.float32)
    digits = np.sqrt(x.astype(np.float64)) * 2**23
    return x[np.argpartition(np.abs(digits - np.floor(digits) - 0.5), number)[:number]]


@pytest.mark.parametrize("direction", approximations.DIRECTIONS if oracle.EMULATED else ["as it is"])
def test_a_root_is_exact_whatever_the_first_guess(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton_functions import sqrt_kernel

    monkeypatch.setattr(approximations, "direction", direction)
    x = hard_roots(2**14)
    found = torch.from_numpy(x.copy()).to(TRITON)
    sqrt_kernel[(len(x) // 128,)](found, BLOCK=128, **OPTIONS)
    assert np.array_equal(found.cpu().numpy(), np.sqrt(x))

"""Triton kernels, launched by Triton's own launch: the machine notices their faults."""

from typing import Any

import oracle
import pytest
import torch

from ptx import approximations
from ptx.faults import Race, Undefined

pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(not oracle.EMULATED, reason="only the emulation can run kernels with such faults"),
]

SIZE, BLOCK = 100, 32


def launch(name: str, x: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    from ptx import planted

    out = torch.zeros(size)
    getattr(planted, name)[(-(-size // BLOCK),)](x, out, size, BLOCK=BLOCK, num_warps=1)
    return out


def test_a_kernel_without_a_fault() -> None:
    x = torch.randn(SIZE)
    assert torch.equal(launch("copy", x), x)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("without_a_mask", Undefined, "outside of every tensor"),
        ("one_too_far", Undefined, "outside of every tensor"),
        ("programs_that_overlap", Race, "another thread has written|several programs write"),
        ("reads_what_its_neighbour_writes", Race, "another thread has read"),
        ("reads_without_a_barrier", Race, "another thread has written"),
    ],
)
def test_a_planted_fault_is_noticed(name: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as found:
        launch(name, torch.randn(SIZE))
    assert found.value.__notes__[0].startswith(f"in {name}, line ")


def test_a_pointer_that_is_not_aligned_as_it_was_when_it_was_compiled() -> None:
    """Triton checks at a launch whether pointers are multiples of 16; here a tensor gives it a wrong pointer."""
    from ptx import planted

    x = torch.randn(SIZE + 1)[1:]
    assert x.data_ptr() % 16 != 0
    assert torch.equal(launch("copy", x), x)  # Triton's own launch compiles another kernel

    class Aligned(torch.Tensor):
        def data_ptr(self) -> Any:
            return super().data_ptr() // 16 * 16

    lies = x.as_subclass(Aligned)
    with pytest.raises(Undefined, match="not aligned"):
        planted.copy[(1,)](lies, torch.zeros(128), 128, BLOCK=128, num_warps=1)


@pytest.mark.parametrize("direction", ["exact", "up", "down"])
def test_no_tolerance_needs_luck_of_the_approximate_instructions(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all other tests they err either way; here they err to one side, or not at all."""
    import test_one_arithmetic
    import test_transition_bound
    import test_variational_bound

    monkeypatch.setattr(approximations, "direction", direction)
    test_one_arithmetic.test_reverse_process(1, 4, 37, 0.0)
    test_transition_bound.test_equality("triton", (1025,), False)
    test_variational_bound.assert_equal("triton", 1, 4, 9, 150)
    test_variational_bound.assert_equal("triton", 8, 16, 9, 1)


def test_another_version_of_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    from ptx import emulation

    monkeypatch.setattr(triton, "__version__", "4.0.0")
    with pytest.raises(RuntimeError, match=r"knows Triton 3.6 and 3.7; 4.0.0 is installed"):
        emulation.start(90)

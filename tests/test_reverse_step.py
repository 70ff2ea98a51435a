# mypy: disable-error-code="arg-type"
"""A reverse step, mean + std eps with the stream's noise, on tensors of any shape."""

import oracle
import pytest
import torch

from kernels import noise
from kernels.reverse_process.reference import history
from kernels.reverse_step import reverse_step

# samples of one element, of several, and images; counts of more than one block
SHAPES = [(1,), (3, 1), (1003, 2), (5, 3, 8, 8), (255, 1), (257, 1)]


def outputs(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)


@pytest.mark.parametrize("backend", oracle.ALL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("t", [1, 2, 3, 4, 5, 37])
def test_equality(backend: str, shape: tuple[int, ...], t: int) -> None:
    mean, std = outputs(shape)
    place, device = {"seed": 3, "first": 1020, "backend": backend}, oracle.device(backend)
    count, dim = shape[0], mean[0].numel()
    eps = noise.normal(count, dim, t, stream=noise.REVERSE, device=device, **place)[-1].cpu().view(shape)
    found = reverse_step(mean.to(device), std.to(device), t, **place).cpu()
    # one rounding of a product and one of a sum, or of both together
    torch.testing.assert_close(found, mean + std * eps, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_is_a_step_of_the_reverse_process(backend: str) -> None:
    # all four steps back from x_T with a network that returns N(x / 2, 1/4), one by one and by the reference
    device, x = oracle.device(backend), noise.normal(20, 3, stream=noise.TERMINAL, backend="reference")[0]
    states, place = [x], {"seed": 0, "backend": backend}
    for t in (4, 3, 2, 1):
        mean = 0.5 * states[-1]
        states.append(reverse_step(mean.to(device), torch.full_like(mean, 0.5).to(device), t, **place).cpu())
    eps = noise.normal(20, 3, 4, stream=noise.REVERSE, backend="reference")
    exact = history(lambda x, _: (0.5 * x, torch.full_like(x, 0.5)), x, 4, eps)
    torch.testing.assert_close(torch.stack(states), exact, rtol=0, atol=2e-6)


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_a_sample_depends_on_its_index_alone(backend: str) -> None:
    device = oracle.device(backend)
    mean, std = (x.to(device) for x in outputs((1100, 2)))
    for start in (0, 2**32 - 512):
        whole = reverse_step(mean, std, 7, seed=1, first=start, backend=backend)
        for first in (1, 500, 511, 512, 1099):
            part = reverse_step(mean[first:], std[first:], 7, seed=1, first=start + first, backend=backend)
            assert torch.equal(whole[first:], part), first


def test_any_dtype_on_the_reference() -> None:
    mean, std = (x.double() for x in outputs((3, 2)))
    assert reverse_step(mean, std, 1, backend="reference").dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"mean": torch.ones(3, 2).double(), "std": torch.ones(3, 2).double()}, TypeError, "mean must be float32"),
        ({"std": torch.ones(3)}, ValueError, "std must have the shape of mean"),
        ({"t": 0}, ValueError, "t must be from 1 to"),
        ({"t": 2**18 + 1}, ValueError, "t must be from 1 to 262144; got 262145"),
        ({"t": 1.0}, TypeError, r"t must be an int; got 1\.0"),
        ({"first": -1}, ValueError, "first must be from 0"),
        ({"seed": 2**64}, ValueError, "seed must be from"),
        ({"backend": "jax"}, ValueError, "backend must be one of.*got 'jax'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    good = {"mean": torch.ones(3, 2), "std": torch.ones(3, 2), "t": 1, "backend": "vectorized"}
    with pytest.raises(error, match=said):
        reverse_step(**good | arguments)

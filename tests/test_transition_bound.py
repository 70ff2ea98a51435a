# mypy: disable-error-code="arg-type"
"""E[-log p(x_{t-1} | x_t)] and its gradients against torch.distributions in float64, on tensors of any shape."""

import math

import oracle
import pytest
import torch
from torch import Tensor

from kernels.transition_bound import transition_bound

# The last operations of the two sides round differently. Measured: 0.9 at the most, with one element.
ALLOWANCE = 2.0

# one element; a vector; the rows of a chunk; images; around the blocks of 1024 elements
SHAPES = [(1,), (1, 1), (2,), (37, 2), (3, 3, 8, 8), (1023,), (1024,), (1025,), (11, 499)]


def transition(shape: tuple[int, ...], draw: int = 0, closed_form: bool = False) -> tuple[Tensor, ...]:
    """Return x_{t-1}, mean and std, and in closed form the variance of x_{t-1}.

    The std may be far below or above 1, x_{t-1} is some std away from the mean, and the variance is 0 or about std^2.
    """
    generator = torch.Generator().manual_seed(draw)
    mean, std, z, spread = (torch.randn(shape, generator=generator) for _ in range(4))
    std = torch.exp(3 * std)
    variance = (torch.relu(spread) * std**2,) if closed_form else ()
    return mean + 2 * z * std, mean, std, *variance


def bound(transition: tuple[Tensor, ...], dtype: torch.dtype, backend: str, weight: float = 1.0) -> list[Tensor]:
    """Return the bound and its gradients times `weight`."""
    device = oracle.device(backend)
    previous, mean, std, *variance = (x.to(device, dtype).clone() for x in transition)
    leaves = [mean.requires_grad_(), std.requires_grad_()]
    value = transition_bound(previous, *leaves, variance=variance[0] if variance else None, backend=backend)
    return [value.detach().cpu(), *(g.cpu() for g in torch.autograd.grad(weight * value, leaves))]


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize("closed_form", [False, True], ids=["sampled", "closed form"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equality(backend: str, shape: tuple[int, ...], closed_form: bool) -> None:
    found = []
    for draw in range(32 if math.prod(shape) < 100 else 1):
        x = transition(shape, draw, closed_form)
        found.append([bound(x, *how, weight=-1.7) for how in ways(backend)])
    actual, single, exact = ([torch.stack(t) for t in zip(*side, strict=True)] for side in zip(*found, strict=True))
    oracle.assert_as_exact(actual, single, exact, ALLOWANCE)


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize("std", [0.72, 0.9, 1.1, 1.4])
def test_one_std_everywhere(backend: str, std: float) -> None:
    """The bound then follows from one logarithm, small here, whose error is as large in the sum as in each term."""
    mean = torch.zeros(1029)
    stds = torch.full_like(mean, std)
    found = bound((mean, mean, stds), torch.float32, backend)[0].double()
    exact = math.log(float(stds[0])) + 0.5 * math.log(2 * math.pi)
    # one unit in the last place of the result, and one for the 1029 logarithms and their sum
    assert abs(float(found) - exact) <= 2 * 2.0**-23 * exact


def ways(backend: str) -> list[tuple[torch.dtype, str]]:
    return [(torch.float32, backend), (torch.float32, "reference"), (torch.float64, "reference")]


def test_gradient_of_the_reference() -> None:
    previous, *leaves = (x.double() for x in transition((3, 2)))
    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(lambda *x: transition_bound(previous, *x, backend="reference"), leaves)


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_the_best_gaussian_has_no_gradient(backend: str) -> None:
    # if z has mean 0 and variance 1, the Gaussian is the best one, and the bound is its entropy
    z = torch.tensor([-1.0, 1.0]).repeat(50)
    std = torch.full_like(z, 0.25)
    value, d_mean, d_std = bound((z * std + 3, torch.full_like(z, 3), std), torch.float32, backend)
    assert float(value) == pytest.approx(0.5 + math.log(0.25) + 0.5 * math.log(2 * math.pi), abs=1e-6)
    assert abs(float(d_mean.sum())) < 1e-6
    assert torch.all(d_std == 0)


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # from Triton's interpreter
@pytest.mark.parametrize("std", [0.0, -1.0, math.nan])
def test_a_std_that_is_not_positive_shows(backend: str, std: float) -> None:
    previous, mean, stds = transition((2000,))
    stds[1500] = std
    assert not math.isfinite(bound((previous, mean, stds), torch.float32, backend)[0])


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_differentiating_twice_is_an_error(backend: str) -> None:
    previous, mean, std = (x.to(oracle.device(backend)) for x in transition((3, 2)))
    value = transition_bound(previous, mean.requires_grad_(), std, backend=backend)
    gradient = torch.autograd.grad(value, mean, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        torch.autograd.grad(gradient.sum(), mean)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"previous": [1.0]}, TypeError, "previous must be a torch.Tensor; got list"),
        ({"std": torch.ones(3, 1)}, ValueError, r"std must have the shape of previous, .*\[3, 2\].*; got .*\[3, 1\]"),
        ({"mean": torch.ones(3, 2).double()}, ValueError, "mean must have the dtype of previous, torch.float32; got"),
        ({"mean": torch.ones(3, 2).int()}, TypeError, "mean must have a floating dtype; got torch.int32"),
        ({"mean": torch.ones(3, 2, device="meta")}, ValueError, "mean must have the device of previous, cpu; got meta"),
        ({"previous": torch.tensor(1.0)}, ValueError, r"previous must have shape \[N, ...\].*got \[\]"),
        ({"previous": torch.ones(0, 2)}, ValueError, "at least one element"),
        ({"previous": torch.ones(3, 2, requires_grad=True)}, ValueError, "previous requires grad"),
        ({"backend": "jax"}, ValueError, "backend must be one of.*got 'jax'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    good = {name: torch.ones(3, 2) for name in ("previous", "mean", "std")}
    with pytest.raises(error, match=said):
        transition_bound(**good | {"backend": "vectorized"} | arguments)


def test_dtype_is_named() -> None:
    with pytest.raises(TypeError, match="previous must be float32 for backend 'vectorized'"):
        transition_bound(*(torch.ones(3).double() for _ in range(3)), backend="vectorized")

# mypy: disable-error-code="arg-type,index,operator,union-attr"
"""Networks of every kind: pairs of perceptrons, modules and callables, their gradients and their dtypes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
from torch import Tensor, nn

import ddpm
from kernels import backends
from kernels.networks import MLPPair, StepTables
from kernels.reverse_process import reverse_process
from kernels.variational_bound import variational_bound

SCHEDULE = ddpm.Schedule.constant(steps=20, beta=0.1)


def test_tied_layers_of_a_pair_that_is_called() -> None:
    weights = [w.requires_grad_() for w in oracle.weights(1, 4)]
    pair, x0, found = MLPPair.of_tensors([*weights[:4], weights[0], *weights[5:]], "tanh"), oracle.points(50, 1), []
    for backend in ("reference", "vectorized"):
        loss = variational_bound(pair, x0, SCHEDULE.betas, backend=backend)
        found.append(torch.autograd.grad(loss, weights[0])[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-5 * float(found[0].abs().max()))


def test_a_parameter_that_is_computed_from_another() -> None:
    x0 = ddpm.datasets.mixture(50)
    model = ddpm.Diffusion(ddpm.GaussianMLP(1, (4, 3)), SCHEDULE, "vectorized")
    own = model.network.mean[0].weight
    with pytest.raises(ValueError, match="a parameter that is computed from another"):
        torch.func.functional_call(model, {"network.std.0.weight": 2 * own}, (x0,))
    outside, found = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), requires_grad=True), []
    for backend in ("reference", "vectorized"):
        model = ddpm.Diffusion(model.network, SCHEDULE, backend)
        loss = torch.func.functional_call(model, {"network.std.0.weight": 2 * outside}, (x0,))
        found.append(torch.autograd.grad(loss, outside)[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-5 * float(found[0].abs().max()))


def test_layers_of_several_dtypes() -> None:
    class Mixed(nn.Module):
        dim = 1

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head = nn.Linear(2, 4).bfloat16(), nn.Linear(4, 2)

        def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            mean, s = self.head(self.body(torch.cat((x, t), 1).bfloat16()).float()).chunk(2, 1)
            return mean, nn.functional.softplus(s)

    x0 = ddpm.datasets.mixture(50)
    expected = oracle.found(Mixed(), SCHEDULE, "reference", x0)
    for a, b in zip(expected, oracle.found(Mixed(), SCHEDULE, "vectorized", x0), strict=True):
        # gradients of bfloat16 weights are sums of numbers that are rounded to 8 bits
        torch.testing.assert_close(a.float(), b.float(), rtol=0, atol=0.02 * float(a.abs().max()))


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
def test_what_has_no_values_is_refused(backend: str) -> None:
    model = ddpm.Diffusion(ddpm.GaussianMLP(1).to("meta"), SCHEDULE)
    for call in (lambda: model.sample(3), lambda: model.loss(torch.zeros(3, 1, device="meta"))):
        with pytest.raises(ValueError, match="tensors on the device 'meta' have no values"):
            call()
    with pytest.raises(TypeError, match=r"network must be float32 for backend 'vectorized'; got torch\.float64"):
        ddpm.Diffusion(ddpm.GaussianMLP(1).double(), SCHEDULE, "vectorized").sample(3)
    model = ddpm.Diffusion(ddpm.GaussianMLP(1), SCHEDULE, backend)
    with pytest.raises(TypeError, match="seed must be an int"):
        model.sample(3, seed=torch.tensor(True))
    for step in (-1, 2**32):
        with pytest.raises(ValueError, match="step must be from 0"):
            model.loss(torch.zeros(3, 1), step=torch.tensor(step))


def test_a_loaded_model_is_not_its_file(tmp_path: Path) -> None:
    path, x0 = tmp_path / "model.safetensors", ddpm.datasets.mixture(50)
    model = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=1), SCHEDULE, "vectorized")
    ddpm.train(model, x0, steps=2, progress=False)
    ddpm.save(model, path)
    loaded = ddpm.load(path, "vectorized")
    with path.open("r+b") as file:  # writes in place, as a copy over the file does
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded.loss(x0), model.loss(x0))
    ddpm.train(loaded, x0, steps=2, progress=False)
    ddpm.train(model, x0, steps=2, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), model.parameters(), strict=True))


def test_float64_takes_the_reference_and_comes_back(tmp_path: Path) -> None:
    model = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=1).double(), SCHEDULE)
    x0 = ddpm.datasets.mixture(20).double()
    assert model.backend == "reference"
    assert model.loss(x0).dtype == model.sample(3).dtype == torch.float64
    ddpm.save(model, tmp_path / "model.safetensors")
    loaded = ddpm.load(tmp_path / "model.safetensors")
    assert loaded.backend == "reference"
    assert torch.equal(loaded.loss(x0), model.loss(x0))
    with pytest.raises(TypeError, match=r"x0 must be float32 for backend 'vectorized'; got torch\.float64"):
        ddpm.Diffusion(model.network, SCHEDULE, "vectorized").loss(x0)


def test_numbers_of_other_libraries() -> None:
    three, x0 = np.int64(3), ddpm.datasets.mixture(20)
    model = ddpm.Diffusion(ddpm.GaussianMLP(np.int64(1), np.int64(4)), SCHEDULE, "vectorized")
    assert torch.equal(model.sample(three, seed=three, first=three), model.sample(3, seed=3, first=3))
    assert torch.equal(model.loss(x0, seed=three, step=np.uint8(3)), model.loss(x0, seed=3, step=3))
    assert len(ddpm.train(model, x0, steps=three, seed=three, progress=False).losses) == 3
    assert ddpm.GaussianMLP(1, 4).hidden == (4,)
    assert ddpm.Schedule.constant(three, 0.1).steps == 3
    assert len(ddpm.datasets.mixture(three)) == 3
    with pytest.raises(TypeError, match="seed must be an int; got True"):
        model.sample(3, seed=True)


class Outside(nn.Module):
    """A network that depends on a tensor that is not one of its parameters."""

    dim = 1

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scales, self.std = [scale], nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.scales[0] * x, self.std.expand_as(x)


def test_a_gradient_that_would_be_lost_is_an_error() -> None:
    x0, scale = ddpm.datasets.mixture(20), torch.tensor(0.9, requires_grad=True)
    for network in (Outside(scale), lambda x, t: (scale * x, torch.full_like(x, 0.5))):
        with pytest.raises(ValueError, match=r"a tensor of shape \[\] that requires grad and is no parameter"):
            variational_bound(network, x0, SCHEDULE.betas, backend="vectorized")
        variational_bound(network, x0, SCHEDULE.betas, backend="reference").backward()
        with torch.no_grad():
            variational_bound(network, x0, SCHEDULE.betas, backend="vectorized")
    assert scale.grad is not None


@pytest.mark.parametrize("backend", ["vectorized", "compiled"])
def test_any_callable_is_a_network(backend: str) -> None:
    def network(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return 0.9 * x, 0.5 + 0.1 * t.expand_as(x)

    x0 = oracle.points(50, 1)
    expected = variational_bound(network, x0, SCHEDULE.betas, backend="reference")
    ours = variational_bound(network, x0, SCHEDULE.betas, backend=backend)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=0)
    network.dim = 1  # type: ignore[attr-defined]
    samples = [reverse_process(network, 20, 5, backend=name) for name in ("reference", backend)]
    torch.testing.assert_close(*samples, rtol=0, atol=1e-5)


def deep(tables: StepTables | None = None, activation: str = "silu") -> MLPPair:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 3), (5,), (4, 5), (4,), (2, 4), (2,)] * 2
    flat = MLPPair.of_tensors([0.5 * torch.randn(shape, generator=generator).requires_grad_() for shape in shapes])
    return MLPPair(flat.mean, flat.std, activation, tables)


def test_pairs_of_any_depth_and_with_tables_by_step() -> None:
    steps, x0 = 20, oracle.points(50, 2)
    t = torch.arange(1, steps + 1) / (steps + 1)
    tutorials = StepTables(torch.zeros(steps), torch.ones(steps), torch.ones(steps), t)
    others = StepTables(0.9 * torch.ones(steps), 0.1 + t, 0.5 + t, t.log())
    losses = []
    for pair in (deep(), deep(tutorials), deep(others), deep(activation="tanh")):
        assert backends.get("compiled").refuses(pair, "variational_bound") is not None
        both = [variational_bound(pair, x0, SCHEDULE.betas, backend=name) for name in ("reference", "vectorized")]
        torch.testing.assert_close(*both, rtol=1e-5, atol=0)
        gradients = [torch.autograd.grad(loss, pair.tensors) for loss in both]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max()))
        samples = [reverse_process(pair, steps, 9, backend=name) for name in ("reference", "vectorized")]
        torch.testing.assert_close(*samples, rtol=0, atol=1e-5 * float(samples[0].abs().max()))
        losses.append(float(both[0].detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert abs(losses[2] - losses[0]) > 1e-3
    assert abs(losses[3] - losses[0]) > 1e-3


def test_tables_are_those_of_their_step() -> None:
    steps = 3
    tables = StepTables(*(torch.tensor(row) for row in ([1.0, 2.0, 3.0], [0.0] * 3, [1.0, 10.0, 100.0], [0.0] * 3)))
    pair = deep(tables)
    x = torch.ones(steps, 2)
    mean, std = pair(x, (torch.arange(1, steps + 1) / (steps + 1)).unsqueeze(1))
    assert torch.equal(mean[:, 0], torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(std[1] / std[0], torch.full((2,), 10.0))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda w: w[:7], ValueError, "tensors must be weight and bias of every layer of two perceptrons; got 7"),
        (lambda w: [*w[:2], torch.zeros(1, 5), *w[3:]], ValueError, r"mean\[1\]\.weight must have shape \[1, 4\]; got"),
        (lambda w: [*w[:7], w[7].double()], TypeError, r"std\[1\]\.bias must be torch.float32, the dtype of mean\[0\]"),
        (lambda w: [*w[:7], w[7].to("meta")], ValueError, r"std\[1\]\.bias is on meta, but mean\[0\] is on cpu"),
    ],
)
def test_layers_that_do_not_fit_are_named(
    change: Callable[[list[Tensor]], list[Tensor]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        MLPPair.of_tensors(change(list(oracle.weights(1, 4))))
    with pytest.raises(ValueError, match="activation must be one of relu, silu, tanh; got 'gelu'"):
        MLPPair.of_tensors(oracle.weights(1, 4), "gelu")

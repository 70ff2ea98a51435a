# mypy: disable-error-code="arg-type"
"""The bound and samples of networks that no kernel holds: the networks are called for a chunk of time or a step."""

import oracle
import pytest
import torch
from torch import Tensor, nn

import ddpm
from kernels.variational_bound import unfused

SCHEDULE = ddpm.Schedule.linear(steps=37, beta_start=1e-3, beta_end=0.2)


class Residual(nn.Module):
    """A network that is not a multilayer perceptron, with an unused and a frozen parameter."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        generator = torch.Generator().manual_seed(0)
        self.mix = nn.Parameter(0.3 * torch.randn(dim, dim, generator=generator))
        self.log_std = nn.Parameter(torch.full((dim,), -1.0))
        self.unused = nn.Parameter(torch.ones(1))
        self.frozen = nn.Parameter(torch.tensor(0.9), requires_grad=False)

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.frozen * x + torch.tanh(x @ self.mix) * t, torch.exp(self.log_std + 0.1 * x.abs())


def model(backend: str, dim: int) -> ddpm.Diffusion:
    return ddpm.Diffusion(Residual(dim).to(oracle.device(backend)), SCHEDULE, backend)


def bound(diffusion: ddpm.Diffusion, x0: Tensor) -> list[Tensor]:
    """Return the loss and the gradients of the two parameters that it depends on."""
    device = oracle.device(diffusion.backend)
    loss = diffusion.loss(x0.to(device), seed=3, step=5, first=7)
    network = diffusion.network
    return [x.cpu() for x in (loss.detach(), *torch.autograd.grad(loss, [network.mix, network.log_std]))]


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize(("dim", "count"), oracle.sizes("DN", [(1, 1), (3, 50)]))
@pytest.mark.parametrize(("elements", "rows"), [(2**22, 2**16), (38 * 3 * 16, 2**16), (2**22, 120), (1, 1)])
def test_equality(
    backend: str, dim: int, count: int, elements: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (elements, rows) == (1, 1) and backend == "triton":
        count = min(count, 3)  # 37 calls for every sample
    # all at once; blocks of samples; chunks of time; a sample and a step at a time
    monkeypatch.setattr(unfused, "ELEMENTS", elements)
    monkeypatch.setattr(unfused, "ROWS", rows)
    x0 = oracle.points(count, dim)
    expected, found = bound(model("reference", dim), x0), bound(model(backend, dim), x0)
    for a, b in zip(expected, found, strict=True):
        # both are float32 sums over steps and samples, in another order
        torch.testing.assert_close(a, b, rtol=0, atol=3e-6 * float(a.abs().max()))


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_a_parameter_that_nothing_depends_on(backend: str) -> None:
    diffusion = model(backend, 2)
    diffusion.loss(oracle.points(5, 2).to(oracle.device(backend))).backward()
    assert float(diffusion.network.unused.grad) == 0
    assert diffusion.network.frozen.grad is None


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_samples(backend: str) -> None:
    place = {"seed": 2, "first": 1000, "history": True}
    expected, found = (model(name, 3).sample(20, **place).cpu() for name in ("reference", backend))
    assert found.shape == (38, 20, 3)
    torch.testing.assert_close(expected, found, rtol=0, atol=2e-6 * float(expected.abs().max()))
    diffusion = model(backend, 3)
    assert torch.equal(diffusion.sample(20, seed=2, first=1000).cpu(), found[-1])
    assert diffusion.sample(0).shape == (0, 3)
    assert diffusion.sample(0, history=True).shape == (38, 0, 3)


def test_without_gradients_none_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion, x0 = model("vectorized", 2), oracle.points(5, 2)
    expected = diffusion.loss(x0).detach()
    monkeypatch.setattr(torch.autograd, "grad", None)
    with torch.no_grad():
        assert torch.equal(diffusion.loss(x0), expected)


def test_differentiating_twice_is_an_error() -> None:
    diffusion = model("vectorized", 2)
    gradient = torch.autograd.grad(diffusion.loss(oracle.points(5, 2)), diffusion.network.mix, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        gradient.sum().backward()


def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfused, "ELEMENTS", 38 * 2 * 64)
    monkeypatch.setattr(unfused, "ROWS", 256)
    diffusion, rows = model("vectorized", 2), []
    diffusion.network.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    diffusion.loss(oracle.points(1000, 2))
    assert max(rows) <= 256
    assert sum(rows) == 37 * 1000


def test_training_and_what_is_refused() -> None:
    diffusion, x0 = model("vectorized", 2), oracle.points(200, 2)
    losses = ddpm.train(diffusion, x0, steps=60, progress=False).losses
    assert float(losses[-10:].mean()) < float(losses[:10].mean()) - 0.01
    with pytest.raises(TypeError, match="x0 must be float32 for backend 'vectorized'"):
        diffusion.loss(x0.double())
    with pytest.raises(ValueError, match="first must be from 0"):
        diffusion.loss(x0, first=-1)

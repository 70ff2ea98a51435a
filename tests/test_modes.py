# mypy: disable-error-code="arg-type,index,operator,union-attr"
"""Modes of torch around a call: no_grad, inference_mode and autocast."""

import oracle
import pytest
import torch

import ddpm

SCHEDULE = ddpm.Schedule.constant(steps=20, beta=0.1)


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
@pytest.mark.parametrize("hidden", [(4,), (4, 3)], ids=["fused network", "called network"])
def test_backward_without_grad_mode(backend: str, hidden: tuple[int, ...]) -> None:
    model, x0 = ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), SCHEDULE, backend), ddpm.datasets.mixture(50)
    expected = torch.autograd.grad(model.loss(x0), list(model.parameters()))
    for mode in (torch.no_grad, torch.inference_mode):
        model.zero_grad()
        with mode():
            model.backward(x0)
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), expected, strict=True))


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
@pytest.mark.parametrize("hidden", [(4,), (4, 3)], ids=["fused network", "called network"])
def test_frozen_or_without_grad_the_loss_is_found(backend: str, hidden: tuple[int, ...]) -> None:
    model, x0 = ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), SCHEDULE, backend), ddpm.datasets.mixture(20)
    expected = model.loss(x0).detach()
    with torch.no_grad():
        assert torch.equal(model.loss(x0), expected)
    with torch.inference_mode():
        assert torch.equal(model.loss(x0), expected)
    model.requires_grad_(False)
    assert torch.equal(model.loss(x0), expected)
    assert torch.equal(model.backward(x0), expected)


@pytest.mark.parametrize("hidden", [(4,), (4, 3)], ids=["fused network", "called network"])
def test_training_in_inference_mode(hidden: tuple[int, ...]) -> None:
    model, other = (ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), SCHEDULE, "vectorized") for _ in range(2))
    x0 = ddpm.datasets.mixture(20)
    with torch.inference_mode():
        ddpm.train(model, x0 * 1, steps=2, progress=False)
        ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), ddpm.Schedule.constant(7, 0.2), "vectorized").sample(3)
        inside = ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), SCHEDULE, "vectorized")
    ddpm.train(model, x0, steps=2, progress=False)
    ddpm.train(other, x0, steps=4, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"made in torch\.inference_mode and cannot be trained"):
        ddpm.train(inside, x0, steps=2, progress=False)


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
def test_autocast_reaches_the_network_alone(backend: str) -> None:
    model, x0 = ddpm.Diffusion(ddpm.GaussianMLP(1, (4, 3)), SCHEDULE, backend), ddpm.datasets.mixture(200) / 4
    exact = oracle.found(model.network, SCHEDULE, backend, x0)
    with torch.autocast("cpu", torch.bfloat16):
        half = oracle.found(model.network, SCHEDULE, backend, x0)
    assert not torch.equal(half[0], exact[0])  # the network was computed in half precision
    for a, b in zip(exact, half, strict=True):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0.05 * float(a.abs().max()))  # bfloat16 has 8 bits

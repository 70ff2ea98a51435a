# mypy: disable-error-code="arg-type,union-attr"
"""Networks with a condition for each row: the bound, samples and training."""

import oracle
import pytest
import torch
from torch import Tensor

import ddpm
from kernels.networks import describe
from kernels.variational_bound import unfused

SCHEDULE = ddpm.Schedule.log_snr(20)
CLASSES = torch.eye(3)[torch.arange(50) % 3]


def model(backend: str | None, **options: object) -> ddpm.Diffusion:
    options = {"hidden": (16, 8), "activation": "silu", "features": (2.0,), "shared": True} | options
    network = ddpm.GaussianMLP(2, **options, condition_dim=3, seed=1)
    return ddpm.Diffusion(network, SCHEDULE, backend)


def bound(diffusion: ddpm.Diffusion, x0: Tensor, **options: object) -> list[Tensor]:
    loss = diffusion.loss(x0, condition=CLASSES.to(x0.dtype), step=3, **options)
    return [v.detach() for v in (loss, *torch.autograd.grad(loss, list(diffusion.parameters())))]


@pytest.mark.parametrize("draws", [None, 3])
@pytest.mark.parametrize("closed_form", [False, True])
def test_the_bound(draws: int | None, closed_form: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x0, options = oracle.points(50, 2), {"draws": draws, "closed_form": closed_form}
    expected = bound(model("reference"), x0, **options)
    for rows in (2**16, 40, 7):  # all at once; some steps or samples at a time; one step of some samples
        monkeypatch.setattr(unfused, "ROWS", rows)
        monkeypatch.setattr(unfused, "ELEMENTS", rows * 42)
        for a, b in zip(bound(model("vectorized"), x0, **options), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("options", [{}, {"hidden": (4,), "activation": "relu", "features": (), "shared": False}])
def test_samples(options: dict[str, object]) -> None:
    at = {"seed": 3, "first": 7, "history": True, "condition": CLASSES}
    samples = [model(name, **options).sample(50, **at) for name in ("native", "vectorized", "reference")]
    for other in samples[:2]:
        torch.testing.assert_close(other, samples[2], rtol=0, atol=1e-5 * float(samples[2].abs().max()))
    part = model("native", **options).sample(20, seed=3, first=37, condition=CLASSES[30:])
    assert torch.equal(part, samples[0][-1, 30:])


def test_each_row_has_its_condition() -> None:
    diffusion = model("native")
    samples = diffusion.sample(50, condition=CLASSES)
    for kind in range(3):
        alone = diffusion.sample(50, condition=torch.eye(3)[[kind] * 50])
        rows = CLASSES[:, kind] == 1
        assert torch.equal(alone[rows], samples[rows])
    assert not torch.equal(alone, samples)


def test_a_network_learns_what_it_is_conditioned_on() -> None:
    schedule = ddpm.Schedule.log_snr(20)
    network = ddpm.GaussianMLP(1, (16,), activation="silu", preconditioned=schedule, condition_dim=2, seed=1)
    diffusion = ddpm.Diffusion(network, schedule)
    kind = torch.arange(200) % 2
    x0 = 0.1 * oracle.points(200, 1) + 2.0 * kind.unsqueeze(1) - 1
    one_hot = torch.eye(2)[kind]
    validation = (x0[:50], one_hot[:50])
    options = {"batch_size": 64, "draws": 4, "closed_form": True, "validation": validation, "ema_decay": 0.95}
    ddpm.train(diffusion, x0, steps=300, condition=one_hot, progress=False, **options)
    samples = diffusion.sample(200, condition=one_hot)
    for k, center in ((0, -1), (1, 1)):
        assert abs(float(samples[kind == k].mean()) - center) < 0.2
        assert float(samples[kind == k].std()) < 0.5


def test_what_does_not_fit_is_named() -> None:
    x0, plain = oracle.points(50, 2), ddpm.Diffusion(ddpm.GaussianMLP(2, (4,)), SCHEDULE)
    assert describe(model(None).network).condition_dim == 3
    for backend in ("native", "vectorized", "reference"):
        diffusion = model(backend)
        with pytest.raises(ValueError, match=r"condition must have shape \[50, 3\] for this network; got None"):
            diffusion.loss(x0)
        with pytest.raises(ValueError, match=r"condition must have shape \[5, 3\] for this network; got None"):
            diffusion.sample(5)
        with pytest.raises(ValueError, match=r"condition must have shape \[50, 3\]; got \[50, 2\]"):
            diffusion.loss(x0, condition=CLASSES[:, :2])
        with pytest.raises(ValueError, match="condition must be finite"):
            diffusion.sample(50, condition=CLASSES / 0)
        with pytest.raises(TypeError, match="condition must have a floating dtype"):
            diffusion.sample(50, condition=CLASSES.long())
    for options in ({"batch_size": 5}, {}):
        with pytest.raises(ValueError, match=r"condition of x0 must have shape \[50, 3\]; got \[49, 3\]"):
            ddpm.train(model(None), x0, 1, condition=CLASSES[1:], progress=False, **options)
    with pytest.raises(ValueError, match=r"condition of validation must have shape \[9, 3\]"):
        ddpm.train(model(None), x0, 1, condition=CLASSES, validation=(x0[:9], CLASSES), progress=False)
    for call in (lambda: plain.loss(x0, condition=CLASSES), lambda: plain.sample(50, condition=CLASSES)):
        with pytest.raises(ValueError, match=r"condition must have shape \[50, 0\]; got \[50, 3\]"):
            call()

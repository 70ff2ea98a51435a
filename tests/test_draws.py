# mypy: disable-error-code="arg-type"
"""The bound from some of its terms: equal to its reference, unbiased, even over t, and the same for every split."""

import math

import oracle
import pytest
import torch
from torch import Tensor

import ddpm
from kernels import noise
from kernels.place import Place
from kernels.variational_bound import drawn, unfused, variational_bound

SCHEDULE = ddpm.Schedule.log_snr(20)
CPU = torch.device("cpu")

# float32 sums of 300 numbers in another order; a std of 0.01 multiplies a rounding of x_t by 100
ALLOWANCE = 10.0


def model(backend: str, dim: int = 2) -> ddpm.Diffusion:
    network = ddpm.GaussianMLP(dim, (8, 8), activation="silu", preconditioned=SCHEDULE, shared=True, seed=1)
    generator = torch.Generator().manual_seed(0)
    for last in (network.mean[-1], network.std[-2]):
        torch.nn.init.normal_(last.weight, std=0.2, generator=generator)
    return ddpm.Diffusion(network.to(oracle.device(backend)), SCHEDULE, backend)


def found(diffusion: ddpm.Diffusion, x0: Tensor, **options: object) -> list[Tensor]:
    loss = diffusion.loss(x0.to(oracle.device(diffusion.backend)), **options)
    return [v.detach().cpu() for v in (loss, *torch.autograd.grad(loss, list(diffusion.parameters())))]


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize("closed_form", [False, True], ids=["sampled", "closed form"])
@pytest.mark.parametrize("first", [7, 2**32 - 7])
def test_equality(backend: str, closed_form: bool, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x0, options = oracle.points(50, 2), {"step": 3, "first": first, "closed_form": closed_form, "draws": 3}
    exact = found(model("reference").double(), x0.double(), **options)
    single = found(model("reference"), x0, **options)
    oracle.assert_as_exact(found(model(backend), x0, **options), single, exact, ALLOWANCE)
    monkeypatch.setattr(unfused, "ROWS", 40)  # some samples at a time
    oracle.assert_as_exact(found(model(backend), x0, **options), single, exact, ALLOWANCE)


@pytest.mark.parametrize("closed_form", [False, True], ids=["sampled", "closed form"])
def test_the_mean_is_the_bound(closed_form: bool) -> None:
    x0, diffusion = oracle.points(30, 2), model("vectorized")
    flat = []
    for draws in (None, 2):
        values = [found(diffusion, x0, step=i, closed_form=closed_form, draws=draws) for i in range(500)]
        flat.append(torch.stack([torch.cat([v.flatten() for v in value]) for value in values]).double())
    difference = flat[1].mean(0) - flat[0].mean(0)
    error = torch.sqrt((flat[0].var(0) + flat[1].var(0)) / 500)
    # 140 numbers; by chance one in 16,000 is 4 standard errors away
    assert float((difference.abs() / error.clamp_min(1e-12)).max()) < 4.5


def test_closed_form_has_less_noise() -> None:
    x0, diffusion = oracle.points(200, 2), model("vectorized")
    spread = []
    for closed_form in (False, True):
        values = [found(diffusion, x0, step=i, closed_form=closed_form, draws=2) for i in range(100)]
        flat = torch.stack([torch.cat([v.flatten() for v in value[1:]]) for value in values])
        spread.append(float(flat.var(0).sum().sqrt()))
    assert spread[1] < 0.8 * spread[0]


@pytest.mark.parametrize(("count", "draws", "steps"), [(1000, 1, 100), (512, 4, 100), (1000, 3, 7), (5, 2, 250)])
def test_every_t_is_drawn_as_often(count: int, draws: int, steps: int) -> None:
    many = torch.stack([drawn.times(count, draws, steps, Place(seed=5, step=i), CPU) for i in range(200)])
    assert many.shape == (200, draws, count)
    assert (int(many.min()), int(many.max())) == (1, steps)
    counts = torch.bincount(many.flatten() - 1, minlength=steps)
    expected = 200 * count * draws / steps
    assert float((counts - expected).abs().max()) < 6 * math.sqrt(expected)
    # within one batch: a run of multiples of the golden ratio differs from an even share by two or three
    one = torch.bincount(many[0].flatten() - 1, minlength=steps)
    assert float((one - count * draws / steps).abs().max()) < 3.5


def test_a_part_of_a_batch_has_its_times_and_noise() -> None:
    whole = drawn.times(100, 3, 50, Place(seed=9, step=4, first=10), CPU)
    assert torch.equal(drawn.times(40, 3, 50, Place(seed=9, step=4, first=70), CPU), whole[:, 60:])
    assert not torch.equal(drawn.times(100, 3, 50, Place(seed=9, step=5, first=10), CPU), whole)
    x0, diffusion = oracle.points(100, 2), model("native")
    both = [float(diffusion.loss(part, first=first, draws=2).detach()) for part, first in ((x0[:30], 0), (x0[30:], 30))]
    assert 0.3 * both[0] + 0.7 * both[1] == pytest.approx(float(diffusion.loss(x0, draws=2).detach()), rel=1e-5)


def test_the_noise_is_of_no_other_purpose() -> None:
    place = Place(seed=1, step=2)
    drawn_noise = drawn.normals(50, 2, 4, place, True, CPU, "native")
    for stream in (noise.FORWARD, noise.REVERSE, noise.TERMINAL, noise.DATA):
        other = noise.normal(50, 2, 4, **place._asdict(), stream=stream)
        assert abs(float(torch.corrcoef(torch.stack((drawn_noise.flatten(), other.flatten())))[0, 1])) < 0.2


def test_bad_draws_are_named() -> None:
    for draws, error in ((0, ValueError), (2**17 + 1, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="draws must be"):
            model("vectorized").loss(oracle.points(5, 2), draws=draws)


def test_a_plain_network_is_called() -> None:
    # its kernel computes all terms only
    x0, betas = oracle.points(20, 1), oracle.betas("linear", 10)
    sides = [
        variational_bound(oracle.pair(oracle.weights(1, 4)), x0, betas, draws=2, backend=backend)
        for backend in ("native", "reference")
    ]
    torch.testing.assert_close(*sides, rtol=1e-5, atol=0)

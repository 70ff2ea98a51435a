# mypy: disable-error-code="arg-type,index,union-attr"
"""ddpm.Diffusion, Schedule and GaussianMLP: the public interface, and its errors for bad input."""

import math
from collections.abc import Callable

import oracle
import pytest
import torch
from torch import Tensor, nn

import ddpm

SCHEDULE = ddpm.Schedule.linear(steps=2, beta_start=0.02, beta_end=0.3)


def diffusion(backend: str = "vectorized", dim: int = 2, hidden: tuple[int, ...] = (1,)) -> ddpm.Diffusion:
    network = ddpm.GaussianMLP(dim, hidden, seed=1).to(oracle.device(backend))
    return ddpm.Diffusion(network, SCHEDULE, backend=backend)


def test_networks_are_the_tutorials() -> None:
    network = ddpm.GaussianMLP(dim=1, hidden=(4,))
    assert [type(layer) for layer in network.mean] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in network.std] == [nn.Linear, nn.ReLU, nn.Linear, nn.Softplus]
    assert (network.mean[0].in_features, network.mean[0].out_features) == (2, 4)
    x, t = oracle.points(10, 1), torch.rand(10, 1, generator=torch.Generator().manual_seed(0))
    mean, std = network(x, t)
    inputs = torch.cat((x, t), dim=1)
    assert torch.equal(mean, network.mean(inputs))
    assert torch.equal(std, network.std(inputs))


def test_std_never_falls_below_its_floor() -> None:
    network = ddpm.GaussianMLP(dim=1)
    nn.init.constant_(network.std[2].bias, -100)
    assert torch.all(network(torch.zeros(3, 1), torch.zeros(3, 1))[1] == torch.tensor(1e-6))


def test_weights_come_from_the_seed() -> None:
    first, same, other = (ddpm.GaussianMLP(dim=2, hidden=(3,), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"dim": 0}, ValueError, "dim must be from 1"),
        ({"dim": 1.0}, TypeError, r"dim must be an int; got 1\.0"),
        ({"hidden": ()}, ValueError, "hidden must name at least one layer"),
        ({"hidden": (4, 0)}, ValueError, "hidden must be from 1 .*got 0"),
    ],
)
def test_bad_networks_are_refused(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ddpm.GaussianMLP(**arguments)


def test_schedules() -> None:
    constant = ddpm.Schedule.constant(steps=250, beta=0.02)
    assert constant.steps == 250
    assert constant.betas.dtype == torch.float64
    assert torch.all(constant.betas == 0.02)
    linear = ddpm.Schedule.linear(steps=3, beta_start=0.1, beta_end=0.3)
    torch.testing.assert_close(linear.betas, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    # Nichol and Dhariwal: alpha_bar(t) = f(t) / f(0), f(t) = cos((t / T + s) / (1 + s) pi / 2)^2, betas at most 0.999
    alpha_bar = torch.cumprod(1 - ddpm.Schedule.cosine(100).betas, 0)
    f = [math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(100)]
    torch.testing.assert_close(alpha_bar[:-1], torch.tensor(f[1:], dtype=torch.float64) / f[0])
    assert float(ddpm.Schedule.cosine(100).betas.max()) == 0.999


def test_a_schedule_keeps_its_own_betas() -> None:
    betas = torch.tensor([0.1, 0.2])
    schedule = ddpm.Schedule.from_betas(betas)
    betas.zero_()
    assert float(schedule.betas[0]) == pytest.approx(0.1)


def test_betas_are_checked_each_time() -> None:
    betas = torch.tensor([0.1, 0.2])
    ddpm.Schedule.from_betas(betas)
    with pytest.raises(ValueError, match=r"betas must lie in \(0, 1\)"):
        ddpm.Schedule.from_betas(betas.add_(1))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: ddpm.Schedule.constant(0, 0.1), ValueError, "steps must be from 1 .*got 0"),
        (lambda: ddpm.Schedule.cosine(-1), ValueError, "steps must be from 1 .*got -1"),
        (lambda: ddpm.Schedule.log_snr(2**18 + 1), ValueError, "steps must be from 1 to 262144; got 262145"),
        (lambda: ddpm.Schedule.cosine(2.5), TypeError, r"steps must be an int; got 2\.5"),
        (lambda: ddpm.Schedule.constant(5, 1.0), ValueError, r"beta\w* must lie in \(0, 1\); got 1\.0"),
        (lambda: ddpm.Schedule.linear(5, 0.0, 0.1), ValueError, r"beta_start must lie in \(0, 1\); got 0\.0"),
        (lambda: ddpm.Schedule.linear(5, 0.1, math.nan), ValueError, r"beta_end must lie in \(0, 1\); got nan"),
        (lambda: ddpm.Schedule.from_betas(torch.tensor([0.1, -0.1])), ValueError, "got values from -0.1"),
        (lambda: ddpm.Schedule.from_betas(torch.tensor([0.1, torch.nan])), ValueError, r"betas must lie in \(0, 1\)"),
        (lambda: ddpm.Schedule.from_betas(torch.zeros(0)), ValueError, r"T >= 1; got \[0\]"),
        (lambda: ddpm.Schedule.from_betas(torch.full((2, 2), 0.1)), ValueError, r"got \[2, 2\]"),
        (lambda: ddpm.Schedule.from_betas([0.1]), TypeError, "betas must be a torch.Tensor; got list"),
    ],
)
def test_bad_schedules_are_refused(make: Callable[[], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        make()


@pytest.mark.parametrize("backend", oracle.ALL)
def test_shapes(backend: str) -> None:
    model, x0 = diffusion(backend, dim=5), oracle.points(20, 5).to(oracle.device(backend))
    assert model.backend == backend
    assert model.forward_process(x0).shape == (3, 20, 5)
    assert model.loss(x0).shape == ()
    assert model.sample(20).shape == (20, 5)
    assert model.sample(20, history=True).shape == (3, 20, 5)
    model.loss(x0).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def everything(backend: str, hidden: tuple[int, ...]) -> list[Tensor]:
    """Return the loss, every gradient, the trajectory and the history of samples."""
    device, place = oracle.device(backend), {"seed": 3, "first": 9}
    model, x0 = diffusion(backend, dim=5, hidden=hidden), oracle.points(50, 5).to(device)
    loss = model.loss(x0, step=2, **place)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    found = [loss.detach(), *gradients, model.forward_process(x0, step=2, **place)]
    return [x.cpu() for x in (*found, model.sample(50, history=True, **place))]


@pytest.mark.parametrize("backend", oracle.FUSED)
@pytest.mark.parametrize("hidden", [(1,), (4, 3)], ids=["fused network", "any network"])
def test_backends_agree(backend: str, hidden: tuple[int, ...]) -> None:
    # this shows that the same weights and places reach all backends; the tests of each op compare more closely
    for a, b in zip(everything("reference", hidden), everything(backend, hidden), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max()))


@pytest.mark.parametrize("backend", oracle.FUSED)
def test_backward_is_that_of_the_loss(backend: str) -> None:
    x0 = oracle.points(5, 5).to(oracle.device(backend))
    for hidden in ((1,), (3, 3)):
        model = diffusion(backend, dim=5, hidden=hidden)
        loss = model.loss(x0, seed=1, step=2)
        expected = torch.autograd.grad(loss, list(model.parameters()))
        for times in (1, 2):  # gradients are added to those from before
            assert torch.equal(model.backward(x0, seed=1, step=2), loss.detach())
            assert all(torch.equal(p.grad, times * g) for p, g in zip(model.parameters(), expected, strict=True))
    model.network.mean[0].weight.requires_grad_(False)
    model.zero_grad()
    model.backward(x0)
    assert model.network.mean[0].weight.grad is None


def test_a_network_in_float64_runs_on_the_reference() -> None:
    class Linear(nn.Module):
        dim = 2

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.9, dtype=torch.float64))

        def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            assert t.shape == (len(x), 1)
            return self.scale * x, torch.full_like(x, 0.2)

    model = ddpm.Diffusion(Linear(), SCHEDULE)
    assert model.backend == "reference"
    model.loss(oracle.points(10, 2).double()).backward()
    assert model.network.scale.grad != 0
    assert model.sample(3).dtype == torch.float64


@pytest.mark.parametrize(
    "output",
    [
        lambda x: x,
        lambda x: (x, x, x),
        lambda x: (x, x[:, :1]),
        lambda x: (x[:1], x),
        lambda x: (x, 1.0),
    ],
    ids=["one tensor", "three", "std too narrow", "mean too short", "a number"],
)
def test_networks_that_return_something_else_are_named(output: Callable[[Tensor], object]) -> None:
    class Network(nn.Module):
        dim = 2

        def forward(self, x: Tensor, t: Tensor) -> object:
            return output(x)

    model = ddpm.Diffusion(Network(), SCHEDULE)
    for call in (lambda: model.loss(oracle.points(10, 2)), lambda: model.sample(10)):
        with pytest.raises(ValueError, match=r"network must return \(mean, std\), both of shape \[\d+, 2\]; got"):
            call()


@pytest.mark.parametrize(
    ("network", "schedule", "error", "said"),
    [
        (lambda x, t: (x, x), SCHEDULE, TypeError, "network must be a torch.nn.Module; got function"),
        (nn.Linear(2, 2), SCHEDULE, TypeError, "network.dim must be an int; got None"),
        (ddpm.GaussianMLP(), [0.1], TypeError, "schedule must be a ddpm.Schedule; got list"),
    ],
)
def test_bad_parts_are_refused(network: nn.Module, schedule: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ddpm.Diffusion(network, schedule)


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
@pytest.mark.parametrize(
    ("x0", "error", "said"),
    [
        ([[1.0, 2.0]], TypeError, "x0 must be a torch.Tensor; got list"),
        (torch.zeros(5), ValueError, r"x0 must have shape \[N, D\].*got \[5\]"),
        (torch.zeros(5, 3), ValueError, r"x0 must have shape \[N, 2\], the network's dim; got \[5, 3\]"),
        (torch.zeros(0, 2), ValueError, r"x0 must have shape \[N, D\] with N >= 1 and D >= 1; got \[0, 2\]"),
        (torch.zeros(5, 2).long(), TypeError, "x0 must have a floating dtype; got torch.int64"),
        (torch.full((5, 2), torch.nan), ValueError, "x0 must be finite; 10 of its values are not"),
        (torch.zeros(5, 2, device="meta"), ValueError, "x0 is on meta"),
    ],
)
def test_bad_data_is_named(backend: str, x0: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        diffusion(backend).loss(x0)
    if "meta" not in said:  # a forward process has no weights, so it accepts any device
        with pytest.raises(error, match=said):
            diffusion(backend).forward_process(x0)


def test_dtype_is_named() -> None:
    with pytest.raises(TypeError, match=r"x0 must be float32 for backend 'vectorized'; got torch.float64"):
        diffusion().loss(oracle.points(5, 2).double())
    with pytest.raises(TypeError, match=r"x0 must be torch.float64, the dtype of the network; got torch.float32"):
        diffusion().double().loss(oracle.points(5, 2))


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"count": -1}, ValueError, "count must be from 0 to 281474976710656; got -1"),
        ({"count": "3"}, TypeError, "count must be an int; got '3'"),
        ({"count": 3, "first": -1}, ValueError, "first must be from 0"),
        ({"count": 3, "seed": 2**64}, ValueError, "seed must be from"),
    ],
)
def test_bad_counts_are_named(backend: str, arguments: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        diffusion(backend).sample(**arguments)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    def run() -> list[Tensor]:
        found = []
        for backend in ("reference", *oracle.BACKENDS):
            model, x0 = diffusion(backend, dim=5), ddpm.datasets.mixture(100).view(20, 5)
            result = ddpm.train(model, x0, steps=2, progress=False)
            found += [x0, model.forward_process(x0), model.loss(x0).detach(), model.sample(20), result.losses]
        return found

    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        values.append(run())
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))


def test_the_default_dtype_changes_nothing() -> None:
    def run() -> list[Tensor]:
        found = []
        for model in models:
            loss = model.loss(x0)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            found += [loss.detach(), *gradients, model.forward_process(x0), model.sample(20)]
        return found

    schedule = ddpm.Schedule.constant(250, 0.02)  # with the tutorial's network, which other tests compile too
    models = [ddpm.Diffusion(ddpm.GaussianMLP(1, (4,)), schedule, backend) for backend in oracle.BACKENDS]
    x0 = oracle.points(20, 1)
    expected = run()
    torch.set_default_dtype(torch.float64)
    try:
        found = run()
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(expected, found, strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max()))

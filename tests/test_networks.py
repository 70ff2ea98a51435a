# mypy: disable-error-code="arg-type,index,operator,union-attr"
"""Whether a network is part of a kernel is decided by what it is: changed in any way, it computes what it says."""

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune

import ddpm
from kernels import backends, networks
from kernels.networks import MLPPair, StepTables
from kernels.reverse_process import reverse_process
from kernels.variational_bound import variational_bound

SCHEDULE = ddpm.Schedule.constant(steps=20, beta=0.1)


class Shifted(ddpm.GaussianMLP):
    """A subclass with a `forward` of its own."""

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = super().forward(x, t)
        return mean + 0.5, std


def ties(n: ddpm.GaussianMLP) -> None:
    n.std[0].weight = n.mean[0].weight


def shifts(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return output + 0.5


def shifts_both(module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return output[0] + 0.5, output[1]


def transposes(n: ddpm.GaussianMLP) -> None:
    n.std[0].weight = nn.Parameter(n.std[0].weight.detach().T.contiguous().T)


def prunes(n: ddpm.GaussianMLP) -> None:
    prune.l1_unstructured(n.mean[0], "weight", 2)


def replaces_forward(n: ddpm.GaussianMLP) -> None:
    forward = n.mean[0].forward
    n.mean[0].forward = lambda x: forward(x) + 0.5


def adds_a_layer(n: ddpm.GaussianMLP) -> None:
    n.mean = nn.Sequential(n.mean[0], nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), n.mean[2])


def widens_one(n: ddpm.GaussianMLP) -> None:
    n.mean = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1))


def both_tanh(n: ddpm.GaussianMLP) -> None:
    n.mean[1], n.std[1] = nn.Tanh(), nn.Tanh()


# What a user may do to a network, and whether a kernel still holds it.
CHANGES: dict[str, tuple[Callable[[ddpm.GaussianMLP], object], bool]] = {
    "nothing": (lambda n: None, True),
    "tied weights": (ties, True),
    "frozen in part": (lambda n: n.mean.requires_grad_(False), True),
    "a transposed weight": (transposes, True),
    "pruned": (prunes, False),
    "weight norm": (lambda n: parametrizations.weight_norm(n.mean[0]), False),
    "an old weight norm": (lambda n: nn.utils.spectral_norm(n.mean[0]), False),
    "another activation": (lambda n: n.mean.__setitem__(1, nn.Tanh()), False),
    "another activation in both": (both_tanh, False),
    "another softplus": (lambda n: n.std.__setitem__(3, nn.Softplus(beta=2)), False),
    "a layer more": (adds_a_layer, False),
    "one network wider": (widens_one, False),
    "no bias": (lambda n: n.mean.__setitem__(0, nn.Linear(2, 4, bias=False)), False),
    "a hook": (lambda n: n.register_forward_hook(shifts_both), False),
    "a hook on a layer": (lambda n: n.std[0].register_forward_hook(shifts), False),
    "a hook before": (lambda n: n.mean.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 0.5,)), False),
    "a hook on the gradient": (lambda n: n.mean[2].register_full_backward_hook(lambda *_: None), False),
    "a replaced forward": (replaces_forward, False),
}


def changed(change: str) -> ddpm.GaussianMLP:
    torch.manual_seed(0)  # for layers that a change adds
    network = ddpm.GaussianMLP(1, (4,), seed=1)
    CHANGES[change][0](network)
    return network.eval()  # spectral norm's power iteration would go on at every call


def found(network: nn.Module, backend: str, x0: Tensor) -> list[Tensor]:
    """The loss, every gradient and samples."""
    model = ddpm.Diffusion(network, SCHEDULE, backend)
    model.zero_grad()
    loss = model.loss(x0)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *gradients, model.sample(20, seed=1)]


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_computes_what_it_says(change: str) -> None:
    x0 = ddpm.datasets.mixture(200) / 4
    network = changed(change)
    pair = networks.describe(network)
    assert backends.get("vectorized").holds(pair) == CHANGES[change][1]
    expected = found(network, "reference", x0)
    for a, b in zip(expected, found(network, "vectorized", x0), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max()) + 1e-7)
    # the same without autograd, and through the optimizer
    models = [ddpm.Diffusion(changed(change), SCHEDULE, name) for name in ("reference", "vectorized")]
    for model in models:
        model.zero_grad()
        model.backward(x0)
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None and q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-5 * float(p.grad.abs().max()) + 1e-7)
    before = [p.clone() for p in models[1].parameters()]
    for model in models:
        ddpm.train(model, x0, steps=3, progress=False)
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-4)  # AdamW divides by gradients that may be near 0
    for p, old in zip(models[1].parameters(), before, strict=True):
        assert torch.equal(p, old) != p.requires_grad


def test_a_subclass_with_its_own_forward_is_called() -> None:
    x0, network = ddpm.datasets.mixture(200) / 4, Shifted(1, (4,), seed=1)
    assert networks.describe(network) is None
    plain = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=1), SCHEDULE, "vectorized").loss(x0).item()
    ours = ddpm.Diffusion(network, SCHEDULE, "vectorized").loss(x0).item()
    assert ours == pytest.approx(ddpm.Diffusion(network, SCHEDULE, "reference").loss(x0).item(), rel=1e-5)
    assert abs(ours - plain) > 1e-3  # a hundred times what they may differ by


def test_a_global_hook_is_called() -> None:
    network, calls = ddpm.GaussianMLP(1, (4,)), []
    handle = nn.modules.module.register_module_forward_hook(lambda *_: calls.append(1))
    try:
        ddpm.Diffusion(network, SCHEDULE, "vectorized").loss(ddpm.datasets.mixture(5))
    finally:
        handle.remove()
    assert calls
    assert networks.describe(network) is not None


def test_a_patched_class_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert networks.describe(ddpm.GaussianMLP(1)) is not None
    for kind in (ddpm.GaussianMLP, nn.Linear):
        with monkeypatch.context() as patch:
            patch.setattr(kind, "forward", lambda self, *inputs: inputs)
            assert networks.describe(ddpm.GaussianMLP(1)) is None


def test_a_hook_on_a_weight_changes_its_gradient_once() -> None:
    x0 = ddpm.datasets.mixture(50)
    for hidden in ((4,), (4, 3)):
        found = []
        for backend in ("reference", "vectorized"):
            network = ddpm.GaussianMLP(1, hidden, seed=1)
            network.mean[0].weight.register_hook(lambda gradient: 2 * gradient)
            ddpm.Diffusion(network, SCHEDULE, backend).loss(x0).backward()
            found.append(network.mean[0].weight.grad)
        torch.testing.assert_close(*found, rtol=0, atol=1e-5 * float(found[0].abs().max()))


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


@pytest.mark.parametrize("change", ["pruned", "weight norm", "tied weights", "another activation"])
def test_training_goes_on_after_a_change(change: str) -> None:
    x0, models = ddpm.datasets.mixture(50) / 4, []
    for backend in ("reference", "vectorized"):
        model = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=1), SCHEDULE, backend)
        ddpm.train(model, x0, steps=3, progress=False)
        CHANGES[change][0](model.network)
        ddpm.train(model, x0, steps=3, progress=False)
        models.append(model)
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-4)


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
    expected = found(Mixed(), "reference", x0)
    for a, b in zip(expected, found(Mixed(), "vectorized", x0), strict=True):
        # gradients of bfloat16 weights are sums of roundings to 8 bits
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
    with path.open("r+b") as file:  # in place, as a copy over it would
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded.loss(x0), model.loss(x0))
    ddpm.train(loaded, x0, steps=2, progress=False)
    ddpm.train(model, x0, steps=2, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), model.parameters(), strict=True))


def test_a_hook_on_a_weight_sees_its_gradient() -> None:
    network, seen = ddpm.GaussianMLP(1, (4,)), []
    network.mean[0].weight.register_hook(lambda gradient: seen.append(gradient))
    network.mean[0].bias.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad))
    ddpm.Diffusion(network, SCHEDULE, "vectorized").backward(ddpm.datasets.mixture(5))
    assert [tuple(gradient.shape) for gradient in seen] == [(4, 2), (4,)]


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_saved_comes_back(change: str, tmp_path: Path) -> None:
    model, path = ddpm.Diffusion(changed(change), SCHEDULE), tmp_path / "model.safetensors"
    if change not in ("nothing", "frozen in part", "a transposed weight"):
        with pytest.raises(ValueError, match="network is no longer what GaussianMLP"):
            ddpm.save(model, path)
        assert not path.exists()
        return
    ddpm.save(model, path)
    for p, q in zip(model.parameters(), ddpm.load(path).parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.requires_grad == q.requires_grad


def test_a_module_of_ones_own_inside_is_not_saved(tmp_path: Path) -> None:
    network = ddpm.GaussianMLP(1)
    network.extra = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="network is no longer what GaussianMLP"):
        ddpm.save(ddpm.Diffusion(network, SCHEDULE), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"only a ddpm\.GaussianMLP can be saved; got Shifted"):
        ddpm.save(ddpm.Diffusion(Shifted(1), SCHEDULE), tmp_path / "model.safetensors")


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
    exact = found(model.network, backend, x0)
    with torch.autocast("cpu", torch.bfloat16):
        half = found(model.network, backend, x0)
    assert not torch.equal(half[0], exact[0])  # the network was computed in half precision
    for a, b in zip(exact, half, strict=True):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0.05 * float(a.abs().max()))  # bfloat16 has 8 bits


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


def test_backward_accumulates_as_torch_does() -> None:
    x0 = ddpm.datasets.mixture(20)
    for hidden in ((4,), (4, 3)):
        ours, torchs = (ddpm.Diffusion(ddpm.GaussianMLP(1, hidden), SCHEDULE, "vectorized") for _ in range(2))
        for step in range(3):
            ours.backward(x0, step=step)
            torchs.loss(x0, step=step).backward()
        assert all(torch.equal(p.grad, q.grad) for p, q in zip(ours.parameters(), torchs.parameters(), strict=True))


class Outside(nn.Module):
    """Depends on a tensor that is no parameter of it."""

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
        assert backends.get("compiled").refuses(pair) is not None
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
        (lambda w: w[:7], ValueError, "tensors must be two for every layer of two perceptrons; got 7"),
        (lambda w: [*w[:2], torch.zeros(1, 5), *w[3:]], ValueError, r"mean\[1\]\.weight must have shape \[1, 4\]; got"),
        (lambda w: [*w[:7], w[7].double()], TypeError, r"std\[1\]\.bias must be torch.float32 as mean\[0\]; got"),
        (lambda w: [*w[:7], w[7].to("meta")], ValueError, r"std\[1\]\.bias is on meta, but mean\[0\] on cpu"),
    ],
)
def test_layers_that_do_not_fit_are_named(
    change: Callable[[list[Tensor]], list[Tensor]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        MLPPair.of_tensors(change(list(oracle.weights(1, 4))))
    with pytest.raises(ValueError, match="activation must be one of relu, silu, tanh; got 'gelu'"):
        MLPPair.of_tensors(oracle.weights(1, 4), "gelu")


def test_distributed_data_parallel_takes_a_diffusion(tmp_path: Path) -> None:
    model, x0 = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,)), SCHEDULE, "vectorized"), ddpm.datasets.mixture(20)
    expected = torch.autograd.grad(model.loss(x0, step=2), list(model.parameters()))
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group(
        "gloo", store=store, rank=0, world_size=1, timeout=datetime.timedelta(seconds=60)
    )
    try:
        DistributedDataParallel(model)(x0, step=2).backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), expected, strict=True))

# mypy: disable-error-code="arg-type,index,operator,union-attr"
"""A network that a user changed is computed as changed: no kernel bypasses a hook, a layer or a `forward`."""

from collections.abc import Callable
from pathlib import Path

import oracle
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import ddpm
from kernels import backends, networks

SCHEDULE = ddpm.Schedule.constant(steps=20, beta=0.1)


class Shifted(ddpm.GaussianMLP):
    """A subclass with a `forward` of its own."""

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
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


# Changes that a user may make to a network, and whether a kernel still holds the network.
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
    return network.eval()  # in training mode every call goes on with spectral norm's power iteration


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_computes_what_it_says(change: str) -> None:
    x0 = ddpm.datasets.mixture(200) / 4
    network = changed(change)
    pair = networks.describe(network)
    assert backends.get("vectorized").holds(pair, "variational_bound") == CHANGES[change][1]
    expected = oracle.found(network, SCHEDULE, "reference", x0)
    for a, b in zip(expected, oracle.found(network, SCHEDULE, "vectorized", x0), strict=True):
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
    assert abs(ours - plain) > 1e-3  # a hundred times the tolerance of the line above


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

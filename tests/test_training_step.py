# mypy: disable-error-code="arg-type"
"""The bound, its gradients and AdamW in one call, against the reference, and the reference against torch's AdamW."""

import math

import oracle
import pytest
import torch
from torch import Tensor

import ddpm
from ddpm import one_call
from kernels.networks import MLPPair
from kernels.training_step import AdamW, Steps, training_step
from kernels.variational_bound import variational_bound

STEPS, LR, DECAY = 6, 0.02, 0.1


def trained(
    backend: str, weights: tuple[Tensor, ...], x0: Tensor, dtype: torch.dtype
) -> tuple[list[float], list[Tensor]]:
    """Return the bounds of some steps, and the weights with the state of AdamW."""
    pair = MLPPair.of_tensors([w.to(dtype).clone().requires_grad_() for w in weights])
    first, second = ([torch.zeros_like(w) for w in pair.tensors] for _ in range(2))
    taken = [torch.zeros((), dtype=torch.float32) for _ in pair.tensors]
    adamw = AdamW(first, second, taken, DECAY)
    steps = training_step(pair, x0.to(dtype), oracle.betas("linear", 20), adamw, seed=3, backend=backend)
    bounds = [steps.run(iteration, LR) for iteration in range(STEPS)]
    return bounds, [w.detach() for w in (*pair.tensors, *first, *second, *taken)]


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (3, 7)]))
def test_the_reference_is_torchs_adamw(dim: int, hidden: int) -> None:
    weights, x0 = oracle.weights(dim, hidden), oracle.points(50, dim).double()
    bounds, found = trained("reference", weights, x0, torch.float64)
    pair = MLPPair.of_tensors([w.double().requires_grad_() for w in weights])
    optimizer = torch.optim.AdamW(pair.tensors, lr=LR, weight_decay=DECAY)
    for iteration, expected in enumerate(bounds):
        optimizer.zero_grad()
        bound = variational_bound(pair, x0, oracle.betas("linear", 20), seed=3, step=iteration, backend="reference")
        bound.backward()
        optimizer.step()
        assert bound.item() == pytest.approx(expected, rel=1e-12)
    for w, own in zip(pair.tensors, found, strict=False):
        torch.testing.assert_close(w.detach(), own, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("dim", "hidden"), oracle.sizes("DH", [(1, 4), (3, 7)]))
def test_equality(dim: int, hidden: int) -> None:
    weights, x0 = oracle.weights(dim, hidden), oracle.points(50, dim)
    bounds, found = trained("native", weights, x0, torch.float32)
    exact_bounds, exact = trained("reference", weights, x0, torch.float64)
    assert bounds == pytest.approx(exact_bounds, rel=1e-5)
    for a, b in zip(found, exact, strict=True):
        # the first step moves a weight by lr * g / (|g| + eps): where a gradient is small, its rounding shows
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-6)


def test_a_bound_that_is_not_finite_changes_nothing() -> None:
    weights = oracle.weights(1, 4)
    weights[3][0] = math.inf
    bounds, found = trained("native", weights, oracle.points(5, 1), torch.float32)
    assert not any(map(math.isfinite, bounds))
    assert all(torch.equal(a, b) for a, b in zip(found, weights, strict=False))
    assert not any(state.any() for state in found[8:])


def model(backend: str) -> ddpm.Diffusion:
    return ddpm.Diffusion(ddpm.GaussianMLP(2, (7,), seed=1), ddpm.Schedule.constant(20, 0.02), backend)


@pytest.mark.parametrize("torch_first", [False, True])
def test_training_goes_on_from_either(torch_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x0, whole, parts = oracle.points(50, 2), model("native"), model("native")
    losses = ddpm.train(whole, x0, 20, progress=False).losses
    halves = []
    for in_torch in (torch_first, not torch_first):
        with monkeypatch.context() as patch:
            if in_torch:
                patch.setattr("ddpm.one_call._prepare", lambda *_: None)
            halves.append(ddpm.train(parts, x0, 10, progress=False).losses)
    torch.testing.assert_close(torch.cat(halves), losses, rtol=1e-5, atol=0)
    for (name, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)
    assert whole.optimizer_state is not None
    assert parts.optimizer_state is not None
    for name, state in whole.optimizer_state.items():
        assert state.keys() == parts.optimizer_state[name].keys()
        assert float(state["step"]) == float(parts.optimizer_state[name]["step"]) == 20


def test_an_interrupt_hides_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion, prepared = model("native"), one_call.training_step

    def interrupted(*arguments: object, **options: object) -> Steps:
        steps = prepared(*arguments, **options)

        def run(iteration: int, lr: float) -> float:
            value = steps.run(iteration, lr)
            if iteration == 2:
                raise KeyboardInterrupt  # like a signal that comes during the call
            return value

        return Steps(run, steps.updates)

    with monkeypatch.context() as patch:
        patch.setattr(one_call, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ddpm.train(diffusion, oracle.points(50, 2), 10, progress=False)
    assert diffusion.iteration == 3
    ddpm.train(diffusion, oracle.points(50, 2), 2, progress=False)
    whole = model("native")
    ddpm.train(whole, oracle.points(50, 2), 5, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), diffusion.parameters(), strict=True))


def test_a_network_with_a_weight_of_its_own_trains_in_torch() -> None:
    network = ddpm.GaussianMLP(1, (4,))
    network.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
    diffusion = ddpm.Diffusion(network, ddpm.Schedule.constant(5, 0.1), "native")
    ddpm.train(diffusion, oracle.points(9, 1), 3, progress=False)
    assert diffusion.iteration == 3


def test_data_that_requires_grad_is_refused() -> None:
    with pytest.raises(ValueError, match="x0 requires grad"):
        trained("native", oracle.weights(1, 4), torch.ones(3, 1, requires_grad=True), torch.float32)


@pytest.mark.parametrize(("x0", "said"), [(torch.ones(3, 2), r"\[N, 1\]"), (torch.ones(0, 1), "N >= 1")])
def test_bad_data_is_refused(x0: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trained("native", oracle.weights(1, 4), x0, torch.float32)


def test_a_backend_without_it_says_so() -> None:
    with pytest.raises(ValueError, match="backend 'vectorized' has no training_step; it has"):
        trained("vectorized", oracle.weights(1, 4), oracle.points(3, 1), torch.float32)

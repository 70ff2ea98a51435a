# mypy: disable-error-code="arg-type,index,operator,union-attr"
"""Training with minibatches, drawn terms, averages and a validation set: resumed bit for bit; what each option does."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch

import ddpm
from ddpm import steps
from ddpm.batches import Batches, Rows
from ddpm.cuda_graph import recorded_step
from ddpm.recipe import Recipe

SCHEDULE = ddpm.Schedule.log_snr(20)
X0, VALIDATION = oracle.points(50, 2), oracle.points(20, 2, draw=1)
EVERYTHING: dict[str, Any] = {
    **{"batch_size": 16, "draws": 2, "closed_form": True, "warmup_steps": 3, "cosine_steps": 30},
    **{"max_grad_norm": 0.5, "ema_decay": 0.9, "validation": VALIDATION, "validate_every": 4, "seed": 5},
}


def diffusion(backend: str | None = None, dropout: float = 0.0) -> ddpm.Diffusion:
    options = {"activation": "silu", "features": (2.0,), "preconditioned": SCHEDULE, "shared": True}
    return ddpm.Diffusion(ddpm.GaussianMLP(2, (16, 16), **options, dropout=dropout, seed=1), SCHEDULE, backend)


def train(model: ddpm.Diffusion, steps: int, **options: object) -> ddpm.TrainingResult:
    return ddpm.train(model, X0, steps=steps, progress=False, **options)


def weights(model: ddpm.Diffusion) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def equal(a: ddpm.Diffusion, b: ddpm.Diffusion) -> bool:
    return all(torch.equal(p, q) for p, q in zip(weights(a), weights(b), strict=True))


# ---- training as a whole


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("cut", [7, 8])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, dropout: float, cut: int) -> None:
    whole, part, path = diffusion(dropout=dropout), diffusion(dropout=dropout), tmp_path / "model.safetensors"
    expected = train(whole, 20, **EVERYTHING)
    first = train(part, cut, **EVERYTHING)
    ddpm.save(part, path)
    torch.manual_seed(cut)  # the state of torch's generator does not matter
    resumed = ddpm.load(path)
    second = train(resumed, 20 - cut, **EVERYTHING)
    assert torch.equal(torch.cat((first.losses, second.losses)), expected.losses)
    assert first.validation_losses | second.validation_losses == expected.validation_losses
    assert equal(whole, resumed)
    for kind, kept in whole.kept.items():
        assert all(torch.equal(value, resumed.kept[kind][name]) for name, value in kept.items())


def test_backends_agree() -> None:
    losses = [train(diffusion(name), 10, **EVERYTHING).losses for name in ("reference", "vectorized", "native")]
    for other in losses[1:]:
        torch.testing.assert_close(other, losses[0], rtol=1e-3, atol=1e-4)


def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train as with a CUDA graph, except that each step is started by hand."""

    def step(model: ddpm.Diffusion, seen: Rows, recipe: Recipe) -> Callable[[int], float]:
        return recorded_step(model, seen, recipe, capture=lambda step: step)

    monkeypatch.setattr(steps, "_step", step)


def test_on_a_device_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = diffusion("vectorized"), diffusion("vectorized")
    expected = train(here, 20, **EVERYTHING)
    as_on_a_device(monkeypatch)
    found = train(there, 20, **EVERYTHING)
    # on a device the learning rate is float32
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-5, atol=1e-6)
    assert found.validation_losses == pytest.approx(expected.validation_losses, rel=1e-5)
    for p, q in zip(weights(there), weights(here), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_on_a_device_the_last_good_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_device(monkeypatch)
    model, good = diffusion("vectorized"), diffusion("vectorized")
    backward = model.backward
    fails = {7: math.inf}
    monkeypatch.setattr(model, "backward", lambda *of, **at: backward(*of, **at) * fails.get(int(at["step"]), 1))
    with pytest.raises(FloatingPointError, match=r"the loss is inf at iteration 7$"):
        train(model, 20, **EVERYTHING)
    train(good, 7, **EVERYTHING)
    assert model.iteration == 7
    assert equal(model, good)
    assert model.optimizer_state is not None
    assert {int(state["step"]) for state in model.optimizer_state.values()} == {7}


@pytest.mark.triton
def test_in_triton() -> None:
    # on CUDA this replays the graph, from the fourth step on
    device = oracle.device("triton")
    everything = EVERYTHING | {"validation": VALIDATION.to(device)}
    whole, halves, here = diffusion("triton").to(device), diffusion("triton").to(device), diffusion("vectorized")
    losses = ddpm.train(whole, X0.to(device), 6, progress=False, **everything).losses
    parts = [ddpm.train(halves, X0.to(device), steps, progress=False, **everything).losses for steps in (5, 1)]
    assert torch.equal(torch.cat(parts), losses)
    assert equal(whole, halves)
    torch.testing.assert_close(losses, train(here, 6, **EVERYTHING).losses, rtol=1e-3, atol=1e-4)


def test_it_learns_and_the_generator_is_left_alone() -> None:
    model = diffusion(dropout=0.1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    result = train(model, 150, batch_size=32, draws=4, closed_form=True, ema_decay=0.95)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.network.training
    nats = [21 * float(m.loss(X0, step=9, closed_form=True).detach()) for m in (diffusion(), model)]
    assert nats[1] < nats[0] - 0.3
    assert result.losses.shape == (150,)
    assert result.validation_losses == {}


def test_one_batch_of_all_rows_is_all_rows_in_another_order() -> None:
    # a sample's noise depends on its place in the batch, so only the average over orders is the same
    one, all_rows = diffusion("native"), diffusion("native")
    values = [train(model, 1, batch_size=size, lr=0.0).losses for model, size in ((one, 50), (all_rows, None))]
    assert abs(float(values[0] - values[1])) < 0.2


# ---- each option


def recipe(**options: object) -> Recipe:
    none = dict.fromkeys(("batch_size", "draws", "cosine_steps", "max_grad_norm", "ema_decay"))
    rest = {"lr": 0.1, "weight_decay": 0.0, "seed": 0, "closed_form": False, "warmup_steps": 0, "validate_every": 1}
    return Recipe(**none | rest | options)


def test_the_learning_rate() -> None:
    assert [recipe().learning_rate(i) for i in (0, 99)] == [0.1, 0.1]
    warm = recipe(warmup_steps=4, cosine_steps=100)
    assert warm.learning_rate(0) == pytest.approx(0.025)
    assert warm.learning_rate(50) == pytest.approx(0.05)
    assert warm.learning_rate(100) == warm.learning_rate(1000) == 0


def test_a_constant_rate_and_no_average_is_adamw() -> None:
    ours, theirs = diffusion(), diffusion()
    train(ours, 3, draws=2, batch_size=10, lr=0.02, weight_decay=0.1, seed=4)
    optimizer, batches = torch.optim.AdamW(theirs.parameters(), lr=0.02, weight_decay=0.1), Batches(50, 10, seed=4)
    for i in range(3):
        optimizer.zero_grad()
        theirs.loss(X0[batches.rows(i)], seed=4, step=i, draws=2).backward()
        optimizer.step()
    for p, q in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_large_gradient_is_clipped() -> None:
    model, plain = diffusion(), diffusion()
    for m, norm in ((model, 1e-3), (plain, None)):
        train(m, 1, max_grad_norm=norm, draws=1)
    norms = [float(torch.cat([p.grad.flatten() for p in m.parameters()]).norm()) for m in (model, plain)]
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1] > 1e-2


def test_the_average_is_that_of_the_weights() -> None:
    model, plain = diffusion(), diffusion()
    train(model, 5, ema_decay=0.5, draws=1)
    average = weights(plain)
    for i in range(5):
        train(plain, 1, draws=1)
        decay = min(0.5, (1 + i) / (10 + i))
        average = [decay * a + (1 - decay) * p for a, p in zip(average, weights(plain), strict=True)]
    for p, q in zip(weights(model), average, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
    trained = model.kept["trained"].values()
    assert all(torch.equal(p, q) for p, q in zip(trained, weights(plain), strict=True))


def test_the_best_weights_are_kept() -> None:
    # the second learning rate is far too high: it makes the weights worse
    model = diffusion()
    result = train(model, 40, lr=1e-2, validation=VALIDATION, validate_every=5, draws=2)
    train(model, 20, lr=0.5, validation=VALIDATION, validate_every=5, draws=2)
    best = min(result.validation_losses.values())
    assert model.best_loss == best
    with torch.no_grad():
        assert float(model.loss(VALIDATION, seed=0, step=2**32 - 1)) == pytest.approx(best, rel=1e-6)
    train(model, 1, draws=2)  # without a validation set the best is forgotten
    assert model.best_loss is None
    assert "best" not in model.kept


def test_the_best_are_of_the_validation_set_that_is_given() -> None:
    model = diffusion()
    train(model, 20, validation=X0, validate_every=5, draws=2)
    train(model, 20, validation=5 * VALIDATION, validate_every=5, draws=2)
    with torch.no_grad():
        best = float(model.loss(5 * VALIDATION, seed=0, step=2**32 - 1))
    assert model.best_loss == pytest.approx(best, rel=1e-6)


def test_what_is_refused_touches_no_weights() -> None:
    model = diffusion()
    train(model, 8, **EVERYTHING)
    kept, before, best = {kind: dict(v) for kind, v in model.kept.items()}, weights(model), model.best_loss
    for bad in ({"x0": X0.double()}, {"x0": X0 * math.nan}, {"condition": torch.ones(50, 1)}, {"steps": 0}):
        arguments = {"x0": X0, "steps": 2, "progress": False, **bad}
        if "steps" in bad:
            ddpm.train(model, **arguments)
        else:
            with pytest.raises((TypeError, ValueError), match="x0"):
                ddpm.train(model, **arguments)
        assert all(torch.equal(p, q) for p, q in zip(before, weights(model), strict=True))
        assert model.kept.keys() == kept.keys()
        assert model.best_loss == best


def test_weights_that_a_user_sets_are_trained() -> None:
    model = diffusion()
    train(model, 10, ema_decay=0.9, draws=2)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    train(model, 1, lr=0.0, weight_decay=0.0, ema_decay=0.9, draws=2)
    assert all(float(p.abs().max()) == 0 for p in weights(model))


def test_what_is_kept_moves_with_the_model() -> None:
    model = diffusion()
    train(model, 5, ema_decay=0.9, draws=2)
    trained = {name: value.double() for name, value in model.kept["trained"].items()}
    model.double()
    ddpm.train(model, X0.double(), 1, lr=0.0, weight_decay=0.0, ema_decay=0.9, draws=2, progress=False)
    assert all(torch.equal(model.kept["trained"][name], value) for name, value in trained.items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_training_goes_on_in_another_dtype(dtype: torch.dtype) -> None:
    models = []
    for backend in ("native", "vectorized"):
        model = diffusion("reference").to(dtype)
        ddpm.train(model, X0.to(dtype), 3, progress=False, draws=2, closed_form=True, seed=5)
        model.float()
        model._backend = backend
        train(model, 5, draws=2, closed_form=True, seed=5)
        models.append(model)
    for a, b in zip(weights(models[0]), weights(models[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_tables_that_do_not_fit_are_refused_or_read_rightly() -> None:
    model = diffusion("native")
    model.schedule = ddpm.Schedule.log_snr(300)
    with pytest.raises(ValueError, match="network has tables for T = 20 steps; got T = 300"):
        train(model, 1, draws=2, closed_form=True)
    exact, other = diffusion("native"), diffusion("native")
    other.network.tables = other.network.tables.double()
    for each in (exact, other):
        train(each, 2, draws=2, closed_form=True)
    assert equal(exact, other)


@pytest.mark.parametrize("backend", ["native", "vectorized"])
def test_an_interrupt_leaves_a_usable_model(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, model = diffusion(backend), diffusion(backend)
    train(whole, 6, **EVERYTHING)
    rows = Batches.rows

    def interrupted(self: Batches, iteration: int) -> torch.Tensor:
        if iteration == 6:
            raise KeyboardInterrupt
        return rows(self, iteration)

    monkeypatch.setattr(Batches, "rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(model, 20, **EVERYTHING)
    assert model.iteration == 6
    assert equal(model, whole)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"batch_size": 51}, ValueError, "batch_size must be from 1 to 50, the number of rows of x0; got 51"),
        ({"batch_size": 0}, ValueError, "batch_size must be from 1"),
        ({"draws": 0}, ValueError, "draws must be from 1"),
        ({"cosine_steps": 0}, ValueError, "cosine_steps must be from 1"),
        ({"warmup_steps": -1}, ValueError, "warmup_steps must be from 0"),
        ({"max_grad_norm": math.nan}, ValueError, "max_grad_norm must be finite"),
        ({"ema_decay": 1.5}, ValueError, r"ema_decay must be from 0 to 1; got 1\.5"),
        ({"lr": "0.1"}, TypeError, "lr must be a number; got '0.1'"),
        ({"validate_every": 0}, ValueError, "validate_every must be from 1"),
        ({"validation": X0 * math.nan}, ValueError, "validation must be finite"),
        ({"validation": X0.double()}, TypeError, r"validation must be torch\.float32, the dtype of the network"),
        (
            {"validation": (X0, X0, X0)},
            ValueError,
            "validation must be a tensor, or a tuple of a tensor and a condition; got 3",
        ),
        ({"validation": torch.zeros(3, 1)}, ValueError, r"validation must have shape \[N, 2\]"),
        ({"validation": [[0.0, 1.0]]}, TypeError, r"validation must be a torch\.Tensor; got list"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        train(diffusion(), 1, **options)

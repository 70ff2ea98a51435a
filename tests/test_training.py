# mypy: disable-error-code="arg-type,index,union-attr"
"""ddpm.train: the tutorial's AdamW, resumed bit for bit, weights that stay good after an error, silent in a log."""

import math
from typing import Any

import oracle
import pytest
import torch
from torch import Tensor
from tqdm import tqdm

import ddpm
from ddpm.cuda_graph import train_on_device
from ddpm.interrupts import Interrupts
from ddpm.recipe import Recipe
from ddpm.stop import Stop

RECIPE = Recipe(1e-2, 1e-6, 0, None, None, False, 0, None, None, None, 100)  # the tutorial's


def diffusion(backend: str = "vectorized", hidden: tuple[int, ...] = (4,)) -> ddpm.Diffusion:
    network = ddpm.GaussianMLP(1, hidden, seed=1).to(oracle.device(backend))
    timesteps = 250 if backend == "compiled" else 20  # 250, which other tests compile too
    return ddpm.Diffusion(network, ddpm.Schedule.constant(timesteps, 0.02), backend=backend)


def assert_same_weights(a: ddpm.Diffusion, b: ddpm.Diffusion) -> None:
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_steps_are_those_of_a_loop_over_adamw() -> None:
    trained, by_hand, x0 = diffusion(), diffusion(), oracle.points(50, 1)
    losses = ddpm.train(trained, x0, steps=5, lr=0.02, weight_decay=0.1, seed=3, progress=False).losses
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.02, weight_decay=0.1)
    for step in range(5):
        optimizer.zero_grad()
        loss = by_hand.loss(x0, seed=3, step=step)
        # fused and plain AdamW round differently in the last bits
        assert float(losses[step]) == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        optimizer.step()
    for p, q in zip(trained.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_result() -> None:
    model = diffusion()
    result = ddpm.train(model, oracle.points(50, 1), steps=7, seed=3, progress=False)
    assert result.losses.shape == (7,)
    assert result.losses.dtype == torch.float32
    assert (model.seed, model.iteration) == (3, 7)


@pytest.mark.parametrize("backend", ["reference", "vectorized", "compiled", "native"])
def test_two_halves_are_the_whole(backend: str) -> None:
    whole, halves, x0 = diffusion(backend), diffusion(backend), oracle.points(50, 1)
    losses = ddpm.train(whole, x0, steps=20, progress=False).losses
    parts = [ddpm.train(halves, x0, steps=10, progress=False).losses for _ in range(2)]
    assert torch.equal(torch.cat(parts), losses)
    assert_same_weights(whole, halves)


def test_no_steps_change_nothing() -> None:
    model = diffusion()
    assert ddpm.train(model, oracle.points(5, 1), steps=0, progress=False).losses.shape == (0,)
    assert_same_weights(model, diffusion())


@pytest.mark.parametrize("backend", ["reference", "vectorized"])
def test_a_loss_that_is_not_finite_stops_it(backend: str) -> None:
    model, x0 = diffusion(backend), oracle.points(50, 1)
    ddpm.train(model, x0, steps=3, progress=False)
    with torch.no_grad():
        model.network.mean[2].bias.fill_(3e38)  # its square overflows
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(FloatingPointError, match="the loss is inf at iteration 3"):
        ddpm.train(model, x0, steps=3, progress=False)
    assert model.iteration == 3
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def on_device(model: ddpm.Diffusion, x0: Tensor, steps: int) -> Tensor:
    """Run cuda_graph.train_on_device without a CUDA device: each step is started by hand."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-6, fused=True)
    with tqdm(total=steps, disable=True) as bar:
        return train_on_device(model, optimizer, x0, steps, RECIPE, Stop(Interrupts()), bar, capture=lambda step: step)


@pytest.mark.parametrize("steps", [0, 1, 4, 250])
def test_on_a_device_it_is_the_same(steps: int) -> None:
    ours, there, x0 = diffusion("vectorized"), diffusion("vectorized"), oracle.points(50, 1)
    losses = ddpm.train(ours, x0, steps=steps, progress=False).losses
    assert torch.equal(on_device(there, x0, steps), losses)
    assert there.iteration == steps
    assert_same_weights(ours, there)


@pytest.mark.parametrize("bad", [0, 3, 120, 249])
def test_on_a_device_the_last_good_weights_are_kept(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, there, x0 = diffusion("vectorized"), diffusion("vectorized"), oracle.points(50, 1)
    ddpm.train(ours, x0, steps=bad, progress=False)
    backward = there.backward

    def fails(x0: Tensor, *, seed: int, step: Tensor, closed_form: bool) -> Tensor:
        loss = backward(x0, seed=seed, step=step, closed_form=closed_form)
        return loss * math.inf if int(step) == bad else loss

    monkeypatch.setattr(there, "backward", fails)
    with pytest.raises(FloatingPointError, match=f"the loss is inf at iteration {bad}$"):
        on_device(there, x0, 250)
    assert there.iteration == bad
    assert_same_weights(ours, there)


@pytest.mark.triton
@pytest.mark.parametrize("closed_form", [False, True], ids=["sampled", "closed"])
@pytest.mark.parametrize("hidden", [(4,), (3, 3)], ids=["fused network", "any network"])
def test_in_triton(hidden: tuple[int, ...], closed_form: bool) -> None:
    # on CUDA this uses a CUDA graph
    x0, models = oracle.points(5, 1), [diffusion(backend, hidden) for backend in ("vectorized", "triton")]
    devices = (torch.device("cpu"), oracle.device("triton"))
    losses = [
        ddpm.train(m, x0.to(d), steps=5, progress=False, closed_form=closed_form).losses
        for m, d in zip(models, devices, strict=True)
    ]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=0)
    for p, q in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(p, q.cpu(), rtol=0, atol=1e-5)


@pytest.mark.triton
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # Triton's interpreter warns of the overflow
def test_in_triton_the_last_good_weights_are_kept() -> None:
    model, x0 = diffusion("triton"), oracle.points(5, 1).to(oracle.device("triton"))
    ddpm.train(model, x0, steps=2, progress=False)
    with torch.no_grad():
        model.network.mean[2].bias.fill_(3e38)  # its square overflows
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(FloatingPointError, match="the loss is inf at iteration 2"):
        ddpm.train(model, x0, steps=5, progress=False)
    assert model.iteration == 2
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("progress", [True, False])
def test_silent_in_a_log(capfd: pytest.CaptureFixture[str], progress: bool) -> None:
    ddpm.train(diffusion(), oracle.points(5, 1), steps=3, progress=progress)
    assert capfd.readouterr() == ("", "")


def test_the_bar_shows_the_loss_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    losses = ddpm.train(diffusion(), oracle.points(5, 1), steps=3).losses
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert f"loss {float(losses[-1]):.4f}" in shown
    ddpm.train(diffusion(), oracle.points(5, 1), steps=3, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"steps": -1}, ValueError, "steps must be from 0 .*got -1"),
        ({"steps": 1.5}, TypeError, r"steps must be an int; got 1\.5"),
        ({"lr": -1.0}, ValueError, r"lr must be finite and not negative; got -1\.0"),
        ({"lr": math.nan}, ValueError, "lr must be finite and not negative; got nan"),
        ({"weight_decay": math.inf}, ValueError, "weight_decay must be finite and not negative; got inf"),
        ({"seed": 2**64}, ValueError, "seed must be from"),
        ({"x0": torch.zeros(5, 2)}, ValueError, r"x0 must have shape \[N, 1\]"),
        ({"x0": torch.full((5, 1), torch.nan)}, ValueError, "x0 must be finite; 5 of"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    model = diffusion()
    with pytest.raises(error, match=said):
        ddpm.train(model, **{"x0": oracle.points(5, 1), "progress": False} | arguments)
    assert model.iteration == 0
    assert_same_weights(model, diffusion())


# ---- updates that leave weights that are not finite


@pytest.mark.parametrize("backend", ["native", "reference", "vectorized"])
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}, {"shards": 3}], ids=["plain", "average", "shards"])
def test_an_update_to_infinite_weights_is_taken_back(backend: str, before: int, options: dict[str, object]) -> None:
    x0, model, good = oracle.points(50, 1), diffusion(backend), diffusion(backend)
    for each in (model, good):
        ddpm.train(each, x0, steps=before, progress=False, **options)
    with pytest.raises(FloatingPointError, match=f"weights are not finite after the update of iteration {before}$"):
        ddpm.train(model, x0, steps=1, lr=1e38, progress=False, **options)
    assert model.iteration == good.iteration == before
    assert_same_weights(model, good)
    for name, state in (good.optimizer_state or {}).items():
        assert all(torch.equal(model.optimizer_state[name][key], value) for key, value in state.items())
    assert (model.optimizer_state or {}).keys() == (good.optimizer_state or {}).keys()


@pytest.mark.parametrize(("begin", "bad", "kept"), [(0, 0, 0), (3, 0, 0), (0, 250, 200)])
def test_on_a_device_finite_weights_are_kept(begin: int, bad: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the weights from the start of a chunk of 100 iterations."""
    model, good, x0 = diffusion("vectorized"), diffusion("vectorized"), oracle.points(50, 1)
    for each, steps in ((model, begin), (good, begin + kept)):
        ddpm.train(each, x0, steps=steps, progress=False)
    backward = model.backward

    def breaks(*of: Tensor, **at: Any) -> Tensor:
        loss = backward(*of, **at)
        if int(at["step"]) == begin + bad:
            model.network.mean[0].bias.grad[0] = math.inf
        return loss

    monkeypatch.setattr(model, "backward", breaks)
    with pytest.raises(
        FloatingPointError, match=f"not finite after .*; they were restored to iteration {begin + kept}$"
    ):
        on_device(model, x0, bad + 1)
    assert model.iteration == begin + kept
    assert_same_weights(model, good)


def test_a_state_dict_knows_its_schedule_and_iteration() -> None:
    model, same = diffusion(), diffusion()
    ddpm.train(model, oracle.points(50, 1), steps=3, progress=False)
    same.load_state_dict(model.state_dict())
    assert same.iteration == 3
    assert_same_weights(model, same)
    other = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=2), ddpm.Schedule.constant(20, 0.03))
    before = [p.clone() for p in other.parameters()]
    with pytest.raises(ValueError, match="the state has another schedule, T = 20, than this diffusion: Schedule"):
        other.load_state_dict(model.state_dict())
    assert all(map(torch.equal, other.parameters(), before))

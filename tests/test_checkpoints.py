# mypy: disable-error-code="arg-type,assignment"
"""ddpm.Checkpoints: a resumed run has the bits of a run that was never stopped, and a different run is refused."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch

import ddpm
from ddpm.averages import Averages

X0 = oracle.points(50, 2)
SCHEDULE = ddpm.Schedule.log_snr(20)
PLAIN: dict[str, Any] = {"seed": 5}
EVERYTHING: dict[str, Any] = {
    **{"batch_size": 16, "draws": 2, "closed_form": True, "warmup_steps": 3, "cosine_steps": 30, "max_grad_norm": 0.5},
    **{"ema_decay": 0.9, "validation": oracle.points(20, 2, draw=1), "validate_every": 4, "seed": 5},
}


def diffusion(backend: str | None = "native", dropout: float = 0.0, hidden: tuple[int, ...] = (8,)) -> ddpm.Diffusion:
    network = ddpm.GaussianMLP(2, hidden, preconditioned=SCHEDULE, dropout=dropout, seed=1)
    return ddpm.Diffusion(network, SCHEDULE, backend)


def train(model: ddpm.Diffusion, steps: int = 12, **options: Any) -> ddpm.TrainingResult:
    return ddpm.train(model, X0, steps=steps, progress=False, **options)


def file_of(model: ddpm.Diffusion, folder: Path) -> bytes:
    """Return the model as the bytes of its file: weights, optimizer, averages, best loss and iteration."""
    ddpm.save(model, folder / "state.safetensors")
    return (folder / "state.safetensors").read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


class StoppedError(Exception):
    """Stands for a process that is killed."""


@contextlib.contextmanager
def stopped_after(iterations: int) -> Iterator[None]:
    """End training after a number of iterations, as if the process had been killed."""
    update = Averages.update

    def stops(averages: Averages, iteration: int) -> None:
        if iteration == iterations:
            raise StoppedError
        update(averages, iteration)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Averages, "update", stops)
        with pytest.raises(StoppedError):
            yield


@pytest.mark.parametrize(
    ("backend", "dropout", "options"),
    [("native", 0.0, EVERYTHING), ("vectorized", 0.0, EVERYTHING), ("vectorized", 0.2, EVERYTHING)],
    ids=["native", "vectorized", "dropout"],
)
@pytest.mark.parametrize("every", [1, 5, timedelta(microseconds=1)], ids=str)
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path,
    path: Path,
    backend: str,
    dropout: float,
    options: dict[str, Any],
    every: int | timedelta,
) -> None:
    whole, killed, resumed = (diffusion(backend, dropout) for _ in range(3))
    expected = train(whole, **options)
    with stopped_after(7):
        train(killed, **options, checkpoints=ddpm.Checkpoints(path, every))
    found = train(resumed, **options, checkpoints=ddpm.Checkpoints(path, every, resume=True))
    assert torch.equal(found.losses, expected.losses)
    assert found.validation_losses == expected.validation_losses
    assert file_of(resumed, tmp_path) == file_of(whole, tmp_path)


def test_a_run_that_has_ended_is_only_read(tmp_path: Path, path: Path) -> None:
    checkpoints = ddpm.Checkpoints(path, 5, resume=True)  # without a file, resume=True begins a new run
    first, second = diffusion(), diffusion()
    expected = train(first, **EVERYTHING, checkpoints=checkpoints)
    before = path.read_bytes()
    found = train(second, **EVERYTHING, checkpoints=checkpoints)
    assert torch.equal(found.losses, expected.losses)
    assert path.read_bytes() == before
    assert file_of(first, tmp_path) == file_of(second, tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lr": 0.02}, r"another lr: 0\.01; this call has 0\.02"),
        ({"steps": 13}, "another steps: 12; this call has 13"),
        ({"seed": 6}, "another seed: 5; this call has 6"),
        ({"batch_size": None}, "another batch_size: 16; this call has None"),
        ({"validation": X0}, "another validation: .*digest"),
        ({"shards": 2}, "another shards: None; this call has 2"),
        ({"x0": X0 + 1}, "another x0: [0-9a-f]{8}.*digest"),
        ({"x0": X0[:40]}, r"another shape of x0: \[50, 2\]; this call has \[40, 2\]"),
        ({"diffusion": diffusion(hidden=(9,))}, r"another network: .*\[8\].* this call has .*\[9\]"),
        ({"diffusion": diffusion("vectorized")}, "another backend: native; this call has vectorized"),
        ({"diffusion": diffusion("vectorized").double(), "x0": X0.double()}, "another (dtype|validation|backend)"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_another_run_is_refused(path: Path, changed: dict[str, Any], said: str) -> None:
    train(diffusion(), **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5))
    before = path.read_bytes()
    asked: dict[str, Any] = {"diffusion": diffusion(), "x0": X0, "steps": 12, "progress": False} | EVERYTHING | changed
    if changed.get("x0") is not None and changed["x0"].dtype == torch.float64:
        asked["validation"] = asked["validation"].double()
    weights = [p.clone() for p in asked["diffusion"].parameters()]
    with pytest.raises(ValueError, match=f"run.safetensors' was begun with {said}"):
        ddpm.train(**asked, checkpoints=ddpm.Checkpoints(path, 5, resume=True))
    assert path.read_bytes() == before
    assert all(map(torch.equal, asked["diffusion"].parameters(), weights))


def test_nothing_is_overwritten(path: Path) -> None:
    ddpm.save(diffusion(), path)
    with pytest.raises(FileExistsError, match="exists already"):
        train(diffusion(), checkpoints=ddpm.Checkpoints(path))
    with pytest.raises(ValueError, match="is a model, not a checkpoint"):
        train(diffusion(), checkpoints=ddpm.Checkpoints(path, resume=True))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        train(diffusion(), checkpoints=ddpm.Checkpoints(path / "missing" / "a.safetensors"))


def test_a_model_that_stands_elsewhere_is_not_put_back(path: Path) -> None:
    train(diffusion(), **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5))
    other = diffusion()
    train(other, 100, **EVERYTHING)
    with pytest.raises(ValueError, match="began with other weights than this diffusion, which is at iteration 100"):
        train(other, **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5, resume=True))
    assert other.iteration == 100


def test_another_number_of_threads_is_refused_where_it_matters(path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for backend, refused in (("native", False), ("vectorized", True)):
            torch.set_num_threads(1)
            train(diffusion(backend), **PLAIN, checkpoints=ddpm.Checkpoints(path, 5, force=True))
            torch.set_num_threads(2)
            with pytest.raises(ValueError, match="another threads: 1") if refused else contextlib.nullcontext():
                train(diffusion(backend), **PLAIN, checkpoints=ddpm.Checkpoints(path, 5, resume=True))
    finally:
        torch.set_num_threads(threads)


def test_a_fit_that_cannot_be_repeated_is_refused(path: Path) -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="random_state must be an int for a fit that keeps checkpoints; got None"):
        ddpm.DDPM().fit(X0.numpy(), checkpoints=ddpm.Checkpoints(path))


def test_a_checkpoint_is_no_model(path: Path) -> None:
    train(diffusion(), checkpoints=ddpm.Checkpoints(path, 5))
    with pytest.raises(ValueError, match="is a checkpoint of training"):
        ddpm.load(path)
    with pytest.raises(ValueError, match="is a checkpoint of training"):
        ddpm.DDPM.load(path)


def test_bad_arguments_are_named(path: Path) -> None:
    with pytest.raises(ValueError, match="every must be from 1"):
        ddpm.Checkpoints(path, 0)
    with pytest.raises(ValueError, match="every must be longer than 0 seconds"):
        ddpm.Checkpoints(path, timedelta())
    with pytest.raises(TypeError, match=r"every must be an int \(iterations\) or a timedelta; got 1\.5"):
        ddpm.Checkpoints(path, 1.5)
    with pytest.raises(TypeError, match="path must be a str or a path; got 5"):
        ddpm.Checkpoints(5)
    with pytest.raises(ValueError, match=r"path must end in \.safetensors; got 'run'"):
        ddpm.Checkpoints("run")
    with pytest.raises(TypeError, match="resume must be a bool; got 'no'"):
        ddpm.Checkpoints(path, resume="no")
    with pytest.raises(TypeError, match=r"checkpoints must be a ddpm\.Checkpoints; got 'run\.safetensors'"):
        train(diffusion(), checkpoints="run.safetensors")
    network = torch.nn.Linear(2, 2)
    network.dim = 2
    with pytest.raises(ValueError, match=r"only a ddpm\.GaussianMLP can be saved; got Linear"):
        train(ddpm.Diffusion(network, SCHEDULE, "vectorized"), checkpoints=ddpm.Checkpoints(path))


# ---- signals


def send(monkeypatch: pytest.MonkeyPatch, signals: dict[int, tuple[int, ...]]) -> None:
    """Send signals to this process in some iterations, between the update of the weights and that of the average."""
    update = Averages.update

    def sends(averages: Averages, iteration: int) -> None:
        for number in signals.get(iteration, ()):
            os.kill(os.getpid(), number)
        update(averages, iteration)

    monkeypatch.setattr(Averages, "update", sends)


@pytest.mark.parametrize("backend", ["native", "vectorized"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_iteration_and_saves(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, number: int
) -> None:
    whole, part, model = (diffusion(backend) for _ in range(3))
    train(whole, **EVERYTHING)
    train(part, 7, **EVERYTHING)
    with monkeypatch.context() as patch:
        send(patch, {6: (number,)})
        with pytest.raises(ddpm.TrainingInterrupted, match="interrupted after 7 of 12 iterations, saved in") as found:
            train(model, **EVERYTHING, checkpoints=ddpm.Checkpoints(path))
    assert found.value.signal == number
    assert file_of(model, tmp_path) == file_of(part, tmp_path)
    train(model, **EVERYTHING, checkpoints=ddpm.Checkpoints(path, resume=True))
    assert file_of(model, tmp_path) == file_of(whole, tmp_path)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_a_signal_in_the_last_iteration_is_heard(path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Otherwise a loop that trains one iteration at a time could not be stopped."""
    model = diffusion()
    checkpoints = ddpm.Checkpoints(path, resume=True) if kept else None
    with monkeypatch.context() as patch:
        send(patch, {11: (signal.SIGINT,)})
        with pytest.raises(KeyboardInterrupt, match="interrupted after 12 of 12 iterations"):
            train(model, **EVERYTHING, checkpoints=checkpoints)
    assert model.iteration == 12
    if kept:
        assert len(train(diffusion(), **EVERYTHING, checkpoints=checkpoints).losses) == 12
        with pytest.raises(ValueError, match=r"has ended with the weights of this diffusion: use another path"):
            train(model, **EVERYTHING, checkpoints=checkpoints)


def test_a_second_signal_stops_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        send(patch, {6: (signal.SIGINT, signal.SIGINT)})
        with pytest.raises(KeyboardInterrupt) as found:
            train(diffusion(), **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5))
    assert not isinstance(found.value, ddpm.TrainingInterrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(diffusion(), **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5, resume=True))


def test_a_handler_of_the_user_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        send(monkeypatch, {6: (signal.SIGINT,)})
        assert len(train(diffusion(), **EVERYTHING, checkpoints=ddpm.Checkpoints(path)).losses) == 12
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def train_until(seconds: float, model: ddpm.Diffusion, options: dict[str, Any]) -> None:
    """Train until Ctrl-C after some seconds, which may be before training has begun."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        train(model, 10**6, **options)
    finally:
        timer.join()


@pytest.mark.parametrize("backend", ["native", "vectorized"])
@pytest.mark.parametrize("options", [PLAIN, EVERYTHING], ids=["plain", "everything"])
def test_an_interrupt_leaves_whole_iterations(tmp_path: Path, backend: str, options: dict[str, Any]) -> None:
    """After Ctrl-C at any moment, even without a checkpoint, the model has made as many iterations as it says."""
    for moment in range(8):
        model, expected = diffusion(backend), diffusion(backend)
        with pytest.raises(KeyboardInterrupt):
            train_until(0.003 * (moment + 1), model, options)
        if model.iteration:  # the signal may come before the first iteration
            train(expected, model.iteration, **options)
        assert file_of(model, tmp_path) == file_of(expected, tmp_path)


# ---- full disks

FULL = """
import resource, sys
path, tests = sys.argv[1:]
sys.path.insert(0, tests)
import ddpm
import test_checkpoints as t
real, saves = ddpm.checkpoint.save, []
def save(*of, **at):
    saves.append(1)
    if len(saves) == 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    real(*of, **at)
ddpm.checkpoint.save = save
try:
    t.train(t.diffusion(), **t.EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5))
except OSError as error:
    print("said:", error)
"""


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(path), str(Path(__file__).parent)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "said: [Errno 27] File too large" in ran.stdout
    assert os.listdir(tmp_path) == [path.name]
    resumed, whole = diffusion(), diffusion()
    train(resumed, **EVERYTHING, checkpoints=ddpm.Checkpoints(path, 5, resume=True))
    train(whole, **EVERYTHING)
    assert file_of(resumed, tmp_path) == file_of(whole, tmp_path)

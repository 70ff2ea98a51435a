"""`ddpm train` when it is stopped, resumed, and run by several processes."""

import contextlib
import importlib
import os
import signal
import socket
from pathlib import Path

import pytest
import torch.distributed as dist
from processes import ended, started

from ddpm.commands import main
from ddpm.recipe import Recipe
from kernels import backends

pytest.importorskip("sklearn")

STEPS = ["--steps", "12", "--backend", "vectorized"]
SMALL = {
    "table": ["--hidden", "8", "--timesteps", "10", *STEPS],
    "tutorial": ["--tutorial", "--hidden", "4", "--timesteps", "10", *STEPS],
}


def train(data: Path, out: Path, *options: str) -> int:
    return main(["train", str(data), "--out", str(out), *options])


def interrupt_iteration(patch: pytest.MonkeyPatch, iteration: int, number: int) -> None:
    """Send a signal to this process in an iteration of training."""
    learning_rate = Recipe.learning_rate

    def send(self: Recipe, at: int) -> float:
        if at == iteration:
            os.kill(os.getpid(), number)
        return learning_rate(self, at)

    patch.setattr(Recipe, "learning_rate", send)


def test_processes_of_a_table_talk_by_cpu_where_there_is_a_gpu(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[str] = []

    def process_group(device_type: str) -> contextlib.nullcontext[None]:
        joined.append(device_type)
        return contextlib.nullcontext()

    monkeypatch.setattr(backends, "device_type_for", lambda name: "cuda")
    monkeypatch.setattr(importlib.import_module("ddpm.commands.train"), "process_group", process_group)
    assert train(data, tmp_path / "run.safetensors", *SMALL["table"]) == 0
    assert joined == ["cpu"]


@pytest.mark.parametrize("options", SMALL.values(), ids=list(SMALL))
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_stopped_run_goes_on(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    number: int,
    code: int,
) -> None:
    whole, out, kept = (tmp_path / f"{name}.safetensors" for name in ("whole", "run", "run.checkpoint"))
    assert train(data, whole, *options) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        interrupt_iteration(patch, 6, number)
        assert train(data, out, *options, "--checkpoint-every", "5") == code
    said = f"interrupted after 7 of 12 iterations, saved in {kept}: the same command with --resume continues from there"
    assert capsys.readouterr().err == f"ddpm: {said}\n"
    assert main(["info", str(kept)]) == 0
    assert "7 of 12, a checkpoint" in capsys.readouterr().out
    assert train(data, out, *options, "--checkpoint-every", "5") == 2
    assert "exists already: --resume continues from it, --force starts again" in capsys.readouterr().err
    assert main(["sample", str(kept), "--count", "3", "--out", str(tmp_path / "x.npy")]) == 2
    assert "is a checkpoint of training" in capsys.readouterr().err
    assert train(data, out, *options, "--resume", "--lr", "0.5") == 2
    assert "was begun with another --lr, 0.01; now it is 0.5" in capsys.readouterr().err
    assert train(data, out, *options, "--resume", "--seed", "5") == 2
    assert "was begun with another --seed" in capsys.readouterr().err
    assert train(data, out, *options, "--resume", "--columns", "0") == 2
    assert "was begun with another DATA, or other columns" in capsys.readouterr().err
    assert train(data, out, *options, "--resume") == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not kept.exists()
    assert train(data, tmp_path / "new.safetensors", *options, "--resume") == 0  # without a checkpoint it begins anew
    assert (tmp_path / "new.safetensors").read_bytes() == whole.read_bytes()


def test_force_begins_anew(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "run.safetensors", tmp_path / "run.checkpoint.safetensors"
    kept.write_text("no checkpoint")
    assert train(data, out, *SMALL["tutorial"], "--checkpoint-every", "1h", "--force") == 2
    assert (
        "run.checkpoint.safetensors: exists already, and is not a checkpoint: move it away" in capsys.readouterr().err
    )
    assert kept.read_text() == "no checkpoint"
    kept.unlink()
    with monkeypatch.context() as patch:
        interrupt_iteration(patch, 6, signal.SIGINT)
        assert train(data, out, *SMALL["table"], "--checkpoint-every", "5") == 130
    before = kept.read_bytes()
    assert train(tmp_path / "typo.npy", out, *SMALL["tutorial"], "--checkpoint-every", "1h", "--force") == 2
    assert kept.read_bytes() == before
    assert train(data, out, *SMALL["tutorial"], "--checkpoint-every", "1h", "--force") == 0
    assert sorted(tmp_path.iterdir()) == sorted([data, out])


@pytest.mark.parametrize("period", ["0", "0s", "-1", "1.5", "s", "10 m", "1d", ""])
def test_a_period_is_updates_or_a_time(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], period: str
) -> None:
    assert train(data, tmp_path / "run.safetensors", "--checkpoint-every", period) == 2
    assert "is neither a number of iterations nor a time such as 60s, 10m or 1h" in capsys.readouterr().err


def train_as_torchrun_does(rank: int, world: int, port: int, data: Path, out: Path) -> None:
    """Run the command as one of the processes that torchrun starts."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port))
    assert train(data, out, "--hidden", "8", "--timesteps", "10", "--steps", "4", "--backend", "native") == 0
    assert not dist.is_initialized()


def test_processes_of_torchrun_train_one_model(tmp_path: Path, data: Path) -> None:
    for world in (1, 2):
        with socket.socket() as found:
            found.bind(("localhost", 0))
            port = found.getsockname()[1]
        out = tmp_path / f"{world}.safetensors"
        ranks = [started(train_as_torchrun_does, rank, world, port, data, out) for rank in range(world)]
        assert ended(ranks) == [0] * world
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()

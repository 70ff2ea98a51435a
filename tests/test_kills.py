"""Training that is killed again and again ends in the same bits as training that was not.

The variable KILLS sets how many times it is killed, by default 200.
"""

import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import oracle
import processes
import pytest
import torch
from test_checkpoints import EVERYTHING, diffusion, file_of

import ddpm
from ddpm import checkpoint, ranks

KILLS = int(os.environ.get("KILLS", 200))
X0 = oracle.points(50, 2)
STEPS, SHARDS = 12, 3


def train(path: Path | None) -> ddpm.Diffusion:
    model = diffusion()
    kept = None if path is None else ddpm.Checkpoints(path, 1, resume=True)
    ddpm.train(model, X0, STEPS, progress=False, shards=SHARDS, **EVERYTHING, checkpoints=kept)
    return model


def forked(function: Callable[[], object]) -> int:
    """Call a function in a fork of this process, and return the process ID of the fork."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(RuntimeError):  # another rank was killed
            function()
            os._exit(0)
        os._exit(1)
    return child


def code_of(child: int) -> int:
    """Wait for a child and return its exit code, or minus the number of the signal that has ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_again_and_again(folder: Path, world: int, kills: int) -> None:
    """Kill some or all of `world` ranks at random moments. Begin a new run whenever one has ended meanwhile."""
    torch.set_num_threads(1)
    ranks.PATIENCE, ranks.TIMEOUT = 0.1, timedelta(seconds=1)
    path, expected, chance = folder / "run.safetensors", file_of(train(None), folder), random.Random(0)
    killed = whole = halfway = 0

    def train_rank(rank: int, trial: int) -> None:
        if world > 1:
            processes.join(rank, world, folder / f"store{trial}", seconds=1)
        train(path)

    def start(trial: int) -> list[int]:
        return [forked(partial(train_rank, rank, trial)) for rank in range(world)]

    begin = time.monotonic()
    assert set(map(code_of, start(-1))) == {0}
    path.unlink()
    longest = min(0.25, time.monotonic() - begin)  # seconds of a whole run, or less if the machine was busy

    for trial in range(20 * kills):
        children = start(trial)
        time.sleep(chance.uniform(0, 0.6 * longest))
        for child in chance.sample(children, chance.randint(1, world)):
            os.kill(child, signal.SIGKILL)
        codes = list(map(code_of, children))
        killed += any(code == -signal.SIGKILL for code in codes)
        assert set(codes) <= {0, 1, -signal.SIGKILL}, codes
        if path.exists():
            saved, parts = checkpoint.load_with_parts(path)
            assert len(parts["run"][1]["losses"]) == saved.iteration
            halfway += saved.iteration < STEPS
            if saved.iteration == STEPS:
                assert file_of(train(path), folder) == expected
                path.unlink()
                whole += 1
        if killed >= kills:
            break
    assert file_of(train(path), folder) == expected
    assert killed == kills
    print(f"{killed} kills on {world} ranks; {whole} runs ended in the expected bits meanwhile")
    os._exit(0 if halfway else 3)


@pytest.mark.parametrize(("world", "share"), [(1, 0.8), (2, 0.2)], ids=["one rank", "two ranks"])
def test_killed_runs_end_in_the_same_bits(world: int, share: float) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # on a disk, saving would take longer than training
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        killer = processes.started(kill_again_and_again, Path(folder), world, int(share * KILLS))
        assert processes.ended([killer], wait=60 + KILLS) == [0]

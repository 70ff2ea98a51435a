"""Training that is kept as it goes on: a checkpoint now and then, from which it can be resumed bit for bit."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpm import checkpoint
from ddpm.checkpoint import RUN
from ddpm.diffusion import Diffusion
from ddpm.files import check_output, one_line
from ddpm.identity import state
from ddpm.stop import Stop, Wish
from ddpm.training_result import TrainingResult
from kernels import arguments


class TrainingInterrupted(KeyboardInterrupt):
    """A signal has ended training early, after a whole iteration.

    Attributes:
        signal: its number.
    """

    def __init__(self, said: str, signal: int | None) -> None:
        super().__init__(said)
        self.signal = signal


class OtherRun(ValueError):
    """A checkpoint is of a run with another argument.

    Attributes:
        name: of the first argument that differs.
        begun, now: what it was, and what it is.
    """

    def __init__(self, path: str | os.PathLike[str], name: str, begun: Any, now: Any) -> None:
        self.name, self.begun, self.now = name, _told(begun), _told(now)
        place = repr(os.fspath(path))
        super().__init__(f"{place} was begun with another {name}: {self.begun}; this call has {self.now}")


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often ddpm.train writes all that it needs to go on.

    Ctrl-C and SIGTERM then end the iteration, write a last checkpoint and raise TrainingInterrupted, a
    KeyboardInterrupt. A second one stops at once.

    Args:
        path: a .safetensors file. It is always whole: the next checkpoint takes its place when it is safe.
        every: a number of iterations, or a time.
        resume: go on from the checkpoint, bit for bit, if there is one. The model that is given has to stand where the
            run began, or where the checkpoint was written.
        force: replace a checkpoint that exists, where it is not resumed.

    Raises:
        TypeError, ValueError: a bad argument.
    """

    path: str | os.PathLike[str]
    every: int | timedelta = timedelta(minutes=1)
    resume: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"path must be a str or a path; got {self.path!r}")
        if Path(self.path).suffix != ".safetensors":
            raise ValueError(f"path must end in .safetensors; got {os.fspath(self.path)!r}")
        for name in ("resume", "force"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool; got {getattr(self, name)!r}")
        if not isinstance(self.every, int | timedelta) or isinstance(self.every, bool):
            raise TypeError(f"every must be a number of iterations, an int, or a timedelta; got {self.every!r}")
        if isinstance(self.every, int):
            arguments.integer("every", self.every, 1, 2**32 - 1)
        elif self.every <= timedelta():
            raise ValueError(f"every must be longer than no time; got {self.every}")


class Run:
    """Training in one go or in several, each of which ends with a checkpoint.

    Args:
        checkpoints: None keeps none.
        diffusion: what is trained.
        identity: all that the result depends on, by name, as JSON has it.
        steps: how many updates in all.
        stop: looked at after each.
        writes: whether this process is the one that writes.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        diffusion: Diffusion,
        identity: dict[str, Any],
        steps: int,
        stop: Stop,
        writes: bool,
    ) -> None:
        self.checkpoints, self.diffusion, self.steps = checkpoints, diffusion, steps
        self.stop, self.writes = stop, writes
        self.identity = json.loads(json.dumps(identity))
        self.losses, self.validated = torch.zeros(0), dict[int, float]()
        if checkpoints is not None:
            checkpoint.check_can_be_saved(diffusion)
            self.begin = state(diffusion)
            resumed = checkpoints.resume and Path(checkpoints.path).exists()
            if writes:
                check_output(checkpoints.path, force=resumed or checkpoints.force)
            if resumed:
                self._resume(checkpoints.path)

    def result(self, train: Callable[[int], TrainingResult]) -> TrainingResult:
        """Call `train` with numbers of steps, of which it may do fewer when told to stop, until all are done.

        Raises:
            KeyboardInterrupt: a signal has come; of its kind TrainingInterrupted, where there is a checkpoint.
        """
        while len(self.losses) < self.steps:
            found = train(min(self._steps_to_checkpoint(), self.steps - len(self.losses)))
            self.losses = torch.cat([self.losses, found.losses])
            self.validated |= found.validation_losses
            self._save()
            if self.stop.wish() == Wish.END:
                self._interrupt()
        if self.stop.wanted() == Wish.END:  # after the last word of all ranks, or before the first iteration
            self._interrupt()
        return TrainingResult(self.losses, self.validated)

    def _steps_to_checkpoint(self) -> int:
        if self.checkpoints is None:
            return self.steps
        if isinstance(self.checkpoints.every, timedelta):
            self.stop.deadline = time.monotonic() + self.checkpoints.every.total_seconds()
            return self.steps
        return self.checkpoints.every

    def _save(self) -> None:
        if self.checkpoints is None or not self.writes:
            return
        validated = {str(iteration): loss for iteration, loss in self.validated.items()}
        said = {"identity": self.identity, "begin": self.begin, "validated": validated}
        checkpoint.save(self.diffusion, self.checkpoints.path, parts={RUN: (said, {"losses": self.losses})})

    def _interrupt(self) -> None:
        done = f"interrupted after {len(self.losses)} of {self.steps} iterations"
        if self.checkpoints is None:
            raise KeyboardInterrupt(done)
        path = os.fspath(self.checkpoints.path)
        raise TrainingInterrupted(f"{done}, saved in {path}: resume goes on from there", self.stop.interrupts.first)

    def _resume(self, path: str | os.PathLike[str]) -> None:
        saved, parts = checkpoint.load_with_parts(path)
        if RUN not in parts:
            raise ValueError(f"{os.fspath(path)!r} is a model, not a checkpoint of its training")
        said, tensors = parts[RUN]
        identity = said["identity"]
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise OtherRun(path, name, identity.get(name), value)
        try:
            losses, validated = self._done(saved, tensors, said["validated"])
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} is not a whole checkpoint: {one_line(error)}") from error
        if not _is_alike(saved, self.diffusion):
            raise ValueError(f"{os.fspath(path)!r} is not a whole checkpoint: its network is not that of its run")
        if self.begin != said["begin"]:
            if self.begin != state(saved):
                stands = f"this diffusion has, at iteration {self.diffusion.iteration}"
                raise ValueError(f"{os.fspath(path)!r} is of a run that began with other weights than {stands}")
            if len(losses) == self.steps:
                ended = "is of a run that has ended, where this diffusion stands"
                raise ValueError(f"{os.fspath(path)!r} {ended}: take another path to train it further")
        checkpoint.restore(self.diffusion, saved)
        self.begin = said["begin"]
        self.losses, self.validated = losses, validated

    def _done(
        self, saved: Diffusion, tensors: dict[str, Tensor], validated: dict[str, float]
    ) -> tuple[Tensor, dict[int, float]]:
        """The losses of training and of validation until a checkpoint.

        Raises:
            ValueError: not those of some iterations.
        """
        losses = tensors.get("losses", torch.zeros(0))
        if tensors.keys() != {"losses"} or losses.dtype != torch.float32 or losses.dim() != 1:
            raise ValueError("it must have run.losses, a vector of float32, and nothing else of a run")
        if len(losses) > min(self.steps, saved.iteration):
            raise ValueError(f"it has the losses of {len(losses)} iterations, after {saved.iteration} of {self.steps}")
        return losses, {int(iteration): float(loss) for iteration, loss in validated.items()}


def _is_alike(saved: Diffusion, other: Diffusion) -> bool:
    """Whether two are of one network and one schedule, but for weights."""
    networks = [
        (m.network.arguments, {name: t.dtype for name, t in m.network.state_dict().items()}) for m in (saved, other)
    ]
    return networks[0] == networks[1] and torch.equal(saved.schedule.betas, other.schedule.betas)


def _told(value: Any) -> str:
    """A value in a message; of data there is a digest only."""
    text = one_line(value)
    return f"{text[:8]}... (a digest)" if isinstance(value, str) and len(text) == 64 else text

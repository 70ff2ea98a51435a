"""Checkpoints of training, from which it can be resumed bit for bit."""

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
    """A signal ended training early, after a complete iteration, and a checkpoint was written.

    Attributes:
        done: text that says how many iterations are done, and in which file they are saved.
        signal: number of the signal; None if another process received it.
    """

    def __init__(self, done: str, signal: int | None) -> None:
        super().__init__(f"{done}: use resume=True to continue")
        self.done, self.signal = done, signal


class OtherRun(ValueError):
    """A checkpoint belongs to a run with a different argument.

    Attributes:
        path: the checkpoint.
        name: name of the first argument that differs.
        begun: its value in the checkpoint, as text.
        now: its value in this call, as text.
    """

    def __init__(self, path: str | os.PathLike[str], name: str, begun: Any, now: Any) -> None:
        self.path, self.name, self.begun, self.now = os.fspath(path), name, _told(begun), _told(now)
        super().__init__(f"{self.path!r} was begun with another {name}: {self.begun}; this call has {self.now}")


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often training writes a checkpoint, from which it can be resumed.

    It is an argument of `ddpm.train` and `ddpm.DDPM.fit`. With checkpoints, Ctrl-C and SIGTERM stop training after the
    current iteration. Training then writes a last checkpoint and raises `TrainingInterrupted`, a `KeyboardInterrupt`.
    A second signal stops it at once.

    Args:
        path: a .safetensors file. It is always complete: a new checkpoint replaces it only when all is written.
        every: the time between two checkpoints, a timedelta, or the number of iterations between them, an int.
        resume: whether to continue from the checkpoint, bit for bit, if the file exists. The model must have the state
            that it had when the run began, or when the checkpoint was written.
        force: whether to replace an existing file that is not resumed.

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
            raise TypeError(f"every must be an int (iterations) or a timedelta; got {self.every!r}")
        if isinstance(self.every, int):
            arguments.integer("every", self.every, 1, 2**32 - 1)
        elif self.every <= timedelta():
            raise ValueError(f"every must be longer than 0 seconds; got {self.every}")


class Run:
    """Training in one or several stages, each of which ends with a checkpoint.

    Args:
        checkpoints: None for no checkpoints.
        diffusion: the model to train.
        identity: everything that the result depends on, by name, as values that JSON can hold.
        steps: number of iterations in all.
        stop: says whether to stop; checked after each stage.
        writes: whether this process writes the checkpoints.
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
        """Call `train` with a number of iterations, again and again until all are done; return all losses.

        `train` may do fewer iterations when told to stop.

        Raises:
            KeyboardInterrupt: a signal was received; TrainingInterrupted if there are checkpoints.
        """
        while len(self.losses) < self.steps:
            found = train(min(self._steps_to_checkpoint(), self.steps - len(self.losses)))
            self.losses = torch.cat([self.losses, found.losses])
            self.validated |= found.validation_losses
            self._save()
            if self.stop.wish() == Wish.END:
                self._interrupt()
        if self.stop.wanted() == Wish.END:  # by a signal since the ranks last agreed, or before the first iteration
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
        raise TrainingInterrupted(f"{done}, saved in {path}", self.stop.interrupts.first)

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
            raise ValueError(f"{os.fspath(path)!r} is not a complete checkpoint: {one_line(error)}") from error
        if not _is_alike(saved, self.diffusion):
            raise ValueError(f"{os.fspath(path)!r} is not a complete checkpoint: its network is not the one of its run")
        if self.begin != said["begin"]:
            if self.begin != state(saved):
                stands = f"this diffusion, which is at iteration {self.diffusion.iteration}"
                raise ValueError(f"{os.fspath(path)!r} belongs to a run that began with other weights than {stands}")
            if len(losses) == self.steps:
                ended = "belongs to a run that has ended with the weights of this diffusion"
                raise ValueError(f"{os.fspath(path)!r} {ended}: use another path to train it further")
        checkpoint.restore(self.diffusion, saved)
        self.begin = said["begin"]
        self.losses, self.validated = losses, validated

    def _done(
        self, saved: Diffusion, tensors: dict[str, Tensor], validated: dict[str, float]
    ) -> tuple[Tensor, dict[int, float]]:
        """Return the losses of training and of validation up to the checkpoint.

        Raises:
            ValueError: they do not fit the iterations of the run.
        """
        losses = tensors.get("losses", torch.zeros(0))
        if tensors.keys() != {"losses"} or losses.dtype != torch.float32 or losses.dim() != 1:
            raise ValueError("it must have the tensor run.losses, a float32 vector, and no other tensor of a run")
        if len(losses) > min(self.steps, saved.iteration):
            raise ValueError(
                f"it has {len(losses)} losses, but {saved.iteration} iterations are done and {self.steps} were wanted"
            )
        return losses, {int(iteration): float(loss) for iteration, loss in validated.items()}


def _is_alike(saved: Diffusion, other: Diffusion) -> bool:
    """Return whether two models are the same except for their weights: network, dtypes and schedule."""
    networks = [
        (m.network.arguments, {name: t.dtype for name, t in m.network.state_dict().items()}) for m in (saved, other)
    ]
    return networks[0] == networks[1] and torch.equal(saved.schedule.betas, other.schedule.betas)


def _told(value: Any) -> str:
    """Return a value as text for a message; the digest of data is shortened."""
    text = one_line(value)
    return f"{text[:8]}... (a digest)" if isinstance(value, str) and len(text) == 64 else text

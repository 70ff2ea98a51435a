"""The training loops: steps, validation, and averages of the weights."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from ddpm.averages import AVERAGE, BEST, Averages
from ddpm.batches import Rows
from ddpm.cuda_graph import capture, on_side_stream, train_on_device
from ddpm.diffusion import Diffusion
from ddpm.optimizer import device_adamw
from ddpm.recipe import Recipe
from ddpm.steps import Step
from ddpm.stop import Stop, Wish
from ddpm.training_result import TrainingResult
from kernels import arguments, backends


@dataclass(frozen=True)
class Loop:
    """The training of a model on its data, with a recipe.

    Attributes:
        diffusion, recipe: see ddpm.train; already checked.
        seen, unseen: the rows for training and for validation; already checked.
        open_step: returns a context manager that yields the function for one iteration.
        stop: tells when to pause; asked after each iteration, or after a chunk of them on CUDA.
        bar: the progress bar.
    """

    diffusion: Diffusion
    seen: Rows
    unseen: Rows | None
    recipe: Recipe
    open_step: Callable[[], AbstractContextManager[Step]]
    stop: Stop
    bar: tqdm

    def as_the_tutorial(self, steps: int) -> TrainingResult:
        """Train for `steps` iterations, or fewer if told to stop, without averages and validation."""
        diffusion, recipe, x0 = self.diffusion, self.recipe, self.seen.x0
        if not x0.is_cuda:
            with self.open_step() as step:
                return TrainingResult(self._on_host(step, steps), {})
        arguments.finite("x0", x0)
        # a backend whose calls wait for the device cannot be recorded in a graph
        in_graphs = backends.get(diffusion.backend).in_cuda_graphs
        with device_adamw(diffusion, recipe) as optimizer, on_side_stream(x0.device):
            record = capture if in_graphs else (lambda step: step)
            losses = train_on_device(diffusion, optimizer, x0, steps, recipe, self.stop, self.bar, record)
        return TrainingResult(losses, {})

    def on_tables(self, steps: int) -> TrainingResult:
        """Train for `steps` iterations, or fewer if told to stop, with averages of the weights and validation."""
        diffusion, recipe, unseen = self.diffusion, self.recipe, self.unseen
        averages = Averages(diffusion.kept, diffusion.network, recipe.ema_decay, unseen is not None)
        validated: dict[int, float] = {}

        def validation_loss(kind: str) -> float:
            assert unseen is not None
            with averages.in_use(kind), torch.no_grad():
                return diffusion.loss(
                    *(unseen.x0, recipe.seed, 2**32 - 1),
                    closed_form=recipe.closed_form,
                    condition=unseen.condition,
                ).item()

        # compute it anew: earlier training may have had another validation set
        diffusion.best_loss = validation_loss(BEST) if BEST in averages.kept else None

        def validate() -> None:
            if unseen is None or diffusion.iteration % recipe.validate_every != 0:
                return
            validated[diffusion.iteration] = loss = validation_loss(AVERAGE)
            if math.isfinite(loss) and (diffusion.best_loss is None or loss < diffusion.best_loss):
                diffusion.best_loss = loss
                averages.keep_best()

        def step_and_average(iteration: int) -> float:
            value = step(iteration)
            if math.isfinite(value):
                averages.update(iteration)
            return value

        try:
            with self.open_step() as step:
                losses = self._on_host(step_and_average, steps, validate)
        finally:
            averages.finish()
        return TrainingResult(losses, validated)

    def _on_host(self, step: Step, steps: int, after: Callable[[], None] = lambda: None) -> Tensor:
        """Run up to `steps` iterations, call `after` after each, and return the losses."""
        losses: list[float] = []
        while len(losses) < steps:
            value = step(arguments.integer("iteration", self.diffusion.iteration, 0, 2**32 - 1))
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value} at iteration {self.diffusion.iteration}")
            losses.append(value)
            self.diffusion.iteration += 1
            after()
            self.bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
            self.bar.update()
            if self.stop.wish() != Wish.GO_ON:
                break
        return torch.tensor(losses, dtype=torch.float32, device="cpu")

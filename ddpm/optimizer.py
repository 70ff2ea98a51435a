"""torch's AdamW, which continues from the state that a model keeps."""

import contextlib
import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from ddpm.diffusion import Diffusion
from ddpm.recipe import Recipe


class HostAdamW:
    """torch's fused AdamW, called as a function.

    torch's optimizer class is not used, because it imports torch's compiler, which takes more than a second. The model
    holds the state of this optimizer at all times.
    """

    def __init__(self, diffusion: Diffusion, recipe: Recipe) -> None:
        self.recipe = recipe
        self.parameters = dict(diffusion.network.named_parameters())
        kept = {name: kept_state(diffusion, name, p) for name, p in self.parameters.items()}
        self.state = {name: copied(of, self.parameters[name]) for name, of in kept.items() if of}
        diffusion.optimizer_state = self.state

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for p in self.parameters.values():
            p.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float | Tensor, not_finite: Tensor | None = None) -> None:
        """Update the parameters that have a gradient, unless `not_finite`, 0-d float32 on their device, is 1."""
        found = {name: p for name, p in self.parameters.items() if p.grad is not None}
        for name, p in found.items():
            if name not in self.state:
                zero = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[name] = {"step": zero, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        first, second, taken = ([self.state[name][key] for name in found] for key in ("exp_avg", "exp_avg_sq", "step"))
        adamw(
            [p.data for p in found.values()],
            [p.grad for p in found.values() if p.grad is not None],
            *(first, second, [], taken),
            fused=True,
            found_inf=not_finite,
            amsgrad=False,
            maximize=False,
            lr=learning_rate,
            weight_decay=self.recipe.weight_decay,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
        )

    def clip_and_step(self, iteration: int) -> None:
        """Clip the gradients of an iteration and update the parameters.

        Raises:
            FloatingPointError: a weight was not finite after the update, so it was undone. The message names the
                iteration.
        """
        if self.recipe.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.max_grad_norm)
        with self.finite_or_undone(iteration):
            self.step(self.recipe.learning_rate(iteration))

    @contextlib.contextmanager
    def finite_or_undone(self, iteration: int) -> Iterator[None]:
        """Undo the update that is made in this context if it leaves a weight that is not finite.

        Raises:
            FloatingPointError: the update was undone. The message names the iteration.
        """
        before = Snapshot(self.parameters, self.state)
        yield
        if not Snapshot(self.parameters, self.state).is_finite():
            before.restore()
            raise FloatingPointError(f"the weights are not finite after the update of iteration {iteration}")


class Snapshot:
    """A copy of parameters and of the state of their optimizer.

    All numbers are in one flat tensor, so that one call can check all of them.

    Args:
        parameters, state: have the same keys; a parameter may have no state yet.
    """

    def __init__(self, parameters: Mapping[Any, Tensor], state: MutableMapping[Any, dict[str, Tensor]]) -> None:
        self.state, self.known = state, [key for key in parameters if key in state]
        states = (tensor for key in self.known for tensor in state[key].values())
        self.tensors = [tensor.detach() for tensor in (*parameters.values(), *states)]
        self.numbers = torch.cat([tensor.reshape(-1) for tensor in self.tensors])
        self.weights = sum(p.numel() for p in parameters.values())

    def is_finite(self) -> bool:
        """Return whether all weights are finite."""
        return math.isfinite(float((0 * self.numbers[: self.weights]).sum()))

    def restore(self) -> None:
        """Write the numbers back, and delete the state of parameters that had none."""
        for tensor, part in zip(self.tensors, self.numbers.split([t.numel() for t in self.tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))
        for key in self.state.keys() - set(self.known):
            del self.state[key]


def copied(state: dict[str, Tensor], parameter: Tensor) -> dict[str, Tensor]:
    """Return a contiguous copy with the device and the dtype of the parameter; the count of steps is float32."""
    dtypes = {"step": torch.float32}
    return {
        key: torch.empty(value.shape, dtype=dtypes.get(key, parameter.dtype), device=parameter.device).copy_(value)
        for key, value in state.items()
    }


@contextlib.contextmanager
def device_adamw(diffusion: Diffusion, recipe: Recipe) -> Iterator[torch.optim.Optimizer]:
    """Yield torch's AdamW for a CUDA graph, with the state of earlier training.

    At the end, the model gets the state of the optimizer.
    """
    names, parameters = zip(*diffusion.network.named_parameters(), strict=True)
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True, capturable=True
    )
    if diffusion.optimizer_state is not None:
        kept = {i: kept_state(diffusion, name, parameters[i]) for i, name in enumerate(names)}
        fits = {i: state for i, state in kept.items() if state}
        optimizer.load_state_dict({"state": fits, "param_groups": optimizer.state_dict()["param_groups"]})
    try:
        yield optimizer
    finally:
        diffusion.optimizer_state = {names[i]: state for i, state in optimizer.state_dict()["state"].items()}


def kept_state(diffusion: Diffusion, name: str, parameter: Tensor) -> dict[str, Tensor]:
    """Return AdamW's state of a parameter from earlier training; empty if there is none that fits its shape."""
    state = (diffusion.optimizer_state or {}).get(name, {})
    fits = all(value.shape == parameter.shape for key, value in state.items() if key != "step")
    return state if fits else {}

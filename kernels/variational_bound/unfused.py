"""The bound of a network that no kernel holds, and its gradients: a block of samples and a chunk of time at a time.

The network is called on the rows (step, sample) of a chunk. What it keeps for its gradients is freed before the next
chunk begins. So memory does not grow with N, and it grows with T only by the trajectory of one block.
"""

import math

import torch
from torch import Tensor

from kernels import autograd, noise
from kernels.forward_process import forward_process
from kernels.networks import Called
from kernels.place import Place
from kernels.schedules import bound_constant, closed_form_constant, last_alpha_bar, posterior
from kernels.transition_bound import transition_bound
from kernels.variational_bound import drawn

ELEMENTS = 2**22  # the most in the trajectory of a block
ROWS = 2**16  # the most that a network is called on at once


class Sum:
    """Sums the bound over rows, chunk by chunk, together with the gradient of every parameter of the network."""

    def __init__(self, network: Called, x0: Tensor, backend: str) -> None:
        self.network, self.backend, self.elements = network, backend, x0.numel()
        self.parameters = [p for p in network.tensors if p.requires_grad] if torch.is_grad_enabled() else []
        self.flat = torch.zeros(sum(p.numel() for p in self.parameters), dtype=x0.dtype, device=x0.device)
        self.gradients = autograd.split(self.flat, self.parameters)
        self.checked = not torch.is_grad_enabled()

    def add(
        self,
        samples: slice,
        previous: Tensor,
        after: Tensor,
        t: Tensor,
        variance: Tensor | None,
        weight: float = 1.0,
    ) -> Tensor:
        """Add the gradients of `weight` times the terms of rows [R, D].

        The rows are those of `samples`, once or several times, one set after the other.

        Return `weight` times the sum of the R D terms, each minus log(2 pi) / 2, divided by N D.
        """
        outputs = self.network.of_rows(samples)(after, t)
        if not self.checked:
            _check_parameters(outputs, self.parameters)
            self.checked = True
        bound = transition_bound(previous, *outputs, variance=variance, backend=self.backend)
        # turns a mean over rows into a sum over steps of means over samples
        share = weight * after.numel() / self.elements
        if bound.requires_grad:
            with autograd.without_hooks(self.parameters):
                found = torch.autograd.grad(bound * share, self.parameters, allow_unused=True)
            for gradient, g in zip(self.gradients, found, strict=True):
                if g is not None:
                    gradient += g
        return share * (bound.detach().double() - 0.5 * math.log(2 * math.pi))

    def result(self, total: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        """Return `total` / (T + 1), differentiable once in the parameters of the network."""
        value = (total / (steps + 1)).to(dtype)
        return autograd.attach(value, self.flat.div_(steps + 1), self.parameters)


def variational_bound(
    network: Called, x0: Tensor, betas: Tensor, place: Place, closed_form: bool, backend: str
) -> Tensor:
    """Return the bound in nats divided by T + 1, differentiable once in the parameters of the network.

    Raises:
        ValueError: the network depends on a tensor that requires grad and is not one of its parameters, or one of its
            parameters is computed from another.
    """
    total = (closed_form_constant if closed_form else bound_constant)(betas, x0.device).clone()
    (count, dim), steps, terms = x0.shape, len(betas), Sum(network, x0, backend)
    width = max(1, ELEMENTS // ((steps + 1) * dim))
    for start in range(0, count, width):
        x = x0[start : start + width]
        at = place.after(start)._asdict() | {"backend": backend}
        trajectory = forward_process(x, betas, **at)
        # -log N(0; 0, 1) is subtracted from each term, as in the constants
        if closed_form:
            total += 0.5 * last_alpha_bar(betas, x.device) * x.double().square().sum() / x0.numel()
        else:
            eps = noise.normal(len(x), dim, steps, device=x.device, **at)
            squares = trajectory[-1].double().square().sum() - eps.square_().sum(dtype=torch.float64)
            total += 0.5 * squares / x0.numel()
        chunk = max(1, ROWS // len(x))
        for low in range(0, steps, chunk):
            high = min(low + chunk, steps)
            previous, after = trajectory[low:high].flatten(0, 1), trajectory[low + 1 : high + 1].flatten(0, 1)
            t = torch.arange(low + 1, high + 1, dtype=torch.float64, device=x.device) / (steps + 1)
            t = t.to(x.dtype).repeat_interleave(len(x)).unsqueeze(1)
            variance = None
            if closed_form:
                of_data, of_state, variances = (
                    values[low:high].float().view(-1, 1, 1) for values in posterior(betas, x.device)
                )
                previous = (of_data * x + of_state * trajectory[low + 1 : high + 1]).flatten(0, 1)
                variance = variances.expand(-1, *x.shape).flatten(0, 1)
                total -= 0.5 * len(x) * (high - max(low, 1)) / count
            total += terms.add(slice(start, start + width), previous, after, t, variance)
    return terms.result(total, steps, x0.dtype)


def drawn_bound(
    network: Called, x0: Tensor, betas: Tensor, draws: int, place: Place, closed_form: bool, backend: str
) -> Tensor:
    """Compute variational_bound from some terms for each sample: see kernels.variational_bound.drawn."""
    total, terms = drawn.rest(x0, betas), Sum(network, x0, backend)
    (count, _), steps, width = x0.shape, len(betas), max(1, ROWS // draws)
    for start in range(0, count, width):
        x = x0[start : start + width]
        rows = drawn.rows(x, betas, draws, place.after(start), closed_form, backend)
        found = terms.add(
            slice(start, start + width), rows.previous, rows.after, rows.t, rows.variance, weight=steps / draws
        )
        total += found - steps * len(x) / count * (rows.less - 0.5 * math.log(2 * math.pi))
    return terms.result(total, steps, x0.dtype)


def _check_parameters(outputs: tuple[Tensor, ...], parameters: list[Tensor]) -> None:
    """Raise if a gradient would be counted twice, or lost because it goes to no parameter of the network."""
    computed = [p for p in parameters if not p.is_leaf]
    known = {id(p) for p in parameters}
    if any(id(leaf) in known for leaf in autograd.sources(computed, ())):
        raise ValueError(
            "network has a parameter that is computed from another, whose gradient would be counted twice: use "
            "backend 'reference'"
        )
    lost = autograd.sources(outputs, parameters)
    if lost:
        raise ValueError(
            f"network depends on a tensor of shape {list(lost[0].shape)} that requires grad and is no parameter of a "
            "torch.nn.Module, so that its gradient would be lost: make it a parameter, or use backend 'reference'"
        )

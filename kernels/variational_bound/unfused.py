"""The bound of a network that no kernel holds: a block of samples and a chunk of time at a time, with its gradients.

The network is called on the rows (step, sample) of a chunk, and what it keeps for its gradients goes before the next
chunk is begun; so memory does not grow with N, and with T only by one block's trajectory.
"""

import math

import torch
from torch import Tensor

from kernels import autograd, noise
from kernels.forward_process import forward_process
from kernels.networks import Called
from kernels.place import Place
from kernels.schedules import bound_constant
from kernels.transition_bound import transition_bound

ELEMENTS = 2**22  # of a block's trajectory
ROWS = 2**16  # that a network is called on


def variational_bound(network: Called, x0: Tensor, betas: Tensor, place: Place, backend: str) -> Tensor:
    """The bound in nats divided by T + 1, differentiable once in the parameters of the network.

    Raises:
        ValueError: the network depends on a tensor that requires grad and is not its own, or one of its parameters is
            computed from another.
    """
    wanted = torch.is_grad_enabled()
    parameters = [p for p in network.tensors if p.requires_grad] if wanted else []
    total = bound_constant(betas, x0.device).clone()
    flat = torch.zeros(sum(p.numel() for p in parameters), dtype=x0.dtype, device=x0.device)
    gradients = autograd.split(flat, parameters)
    count, dim = x0.shape
    steps, width = len(betas), max(1, ELEMENTS // ((len(betas) + 1) * dim))
    for start in range(0, count, width):
        x = x0[start : start + width]
        at = place.after(start)._asdict() | {"backend": backend}
        trajectory = forward_process(x, betas, **at)
        eps = noise.normal(len(x), dim, steps, device=x.device, **at)
        # each term counted from -log N(0; 0, 1), as the constants are
        terms = 0.5 * (trajectory[-1].double().square().sum() - eps.square_().sum(dtype=torch.float64)) / dim
        chunk = max(1, ROWS // len(x))
        for low in range(0, steps, chunk):
            high = min(low + chunk, steps)
            previous, after = trajectory[low:high].flatten(0, 1), trajectory[low + 1 : high + 1].flatten(0, 1)
            t = torch.arange(low + 1, high + 1, dtype=torch.float64, device=x.device) / (steps + 1)
            t = t.to(x.dtype).repeat_interleave(len(x)).unsqueeze(1)
            outputs = network(after, t)
            if wanted and start == low == 0:
                _check_parameters(outputs, parameters)
            # the rows of a chunk, from a mean over them to a sum over time of means over all samples
            bound = transition_bound(previous, *outputs, backend=backend)
            if bound.requires_grad:
                with autograd.without_hooks(parameters):
                    found = torch.autograd.grad(bound * (len(after) / count), parameters, allow_unused=True)
                for gradient, g in zip(gradients, found, strict=True):
                    if g is not None:
                        gradient += g
            terms += len(after) * (bound.detach().double() - 0.5 * math.log(2 * math.pi))
        total += terms / count
    value = (total / (steps + 1)).to(x0.dtype)
    return autograd.attach(value, flat.div_(steps + 1), parameters)


def _check_parameters(outputs: tuple[Tensor, ...], parameters: list[Tensor]) -> None:
    """Raise where a gradient would be counted twice, or lost because it goes to no parameter of the network."""
    computed = [p for p in parameters if not p.is_leaf]
    known = {id(p) for p in parameters}
    if any(id(leaf) in known for leaf in autograd.sources(computed, ())):
        raise ValueError(
            "network has a parameter that is computed from another, whose gradient would be counted twice: take "
            "backend 'reference'"
        )
    lost = autograd.sources(outputs, parameters)
    if lost:
        raise ValueError(
            f"network depends on a tensor of shape {list(lost[0].shape)} that requires grad and is no parameter of a "
            "torch.nn.Module, so that its gradient would be lost: make it a parameter, or take backend 'reference'"
        )

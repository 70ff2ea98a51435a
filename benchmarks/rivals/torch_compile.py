"""All steps at once in plain PyTorch, gradients by autograd, under torch.compile: what a user would write for speed.

The chain is a cumulative sum: x_t = a_t (x_0 + sum_s b eps_s / a_s), a_t = (1 - beta)^(t / 2). (A product with a [T, T]
matrix instead takes a quarter longer at T = 250.) The units of small networks are written out: Linear on [x, t] takes
twice as long.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.cases import Case
from benchmarks.problem import Problem, Work, too_much_for_autograd
from benchmarks.rivals import tutorial

PACKAGES, STYLE = (), ("#2b6c99", "P")
FEW = 8


def gap(case: Case, size: str) -> str | None:
    return too_much_for_autograd(case)


def compiled(p: Problem, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile a function again for every case, with CUDA graphs on CUDA."""
    torch.compiler.reset()
    return torch.compile(function, mode="reduce-overhead" if p.case.device == "cuda" else None)


def apply(network: torch.nn.Sequential, x: Tensor, t: Tensor) -> Tensor:
    """Return the output of the network's last Linear at x [..., D] and times t that broadcast to [..., 1]."""
    first, last = network[0], network[2]
    assert isinstance(first, torch.nn.Linear)
    assert isinstance(last, torch.nn.Linear)
    dim = x.shape[-1]
    if dim * len(first.bias) > FEW:
        at_time = t * first.weight[:, dim] + first.bias
        return functional.linear(torch.relu(functional.linear(x, first.weight[:, :dim]) + at_time), *last.parameters())
    out: Tensor = last.bias
    for j in range(len(first.bias)):
        z = (x * first.weight[j, :dim]).sum(-1, keepdim=True) + t * first.weight[j, dim] + first.bias[j]
        out = out + torch.relu(z) * last.weight[:, j]
    return out


def steps(p: Problem) -> tuple[Tensor, ...]:
    """Return a_t and t / (T + 1), each [T, 1, 1]."""
    t = torch.arange(1, p.case.T + 1, dtype=torch.float64).view(-1, 1, 1)
    return tuple(v.float().to(p.case.device) for v in ((1 - p.beta) ** (t / 2), t / (p.case.T + 1)))


def trajectory(p: Problem, x0: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    return a * (x0 + torch.cumsum(eps * (math.sqrt(p.beta) / a), 0))


def normals(p: Problem) -> Tensor:
    return torch.randn(p.case.T, p.case.N, p.case.D, device=p.case.device)


def noise(p: Problem) -> Work:
    return Work(compiled(p, lambda: normals(p)), None)


def forward_process(p: Problem) -> Work:
    x0, (a, _) = p.x0, steps(p)

    def whole(eps: Tensor | None = None) -> Tensor:
        return torch.cat((x0[None], trajectory(p, x0, normals(p) if eps is None else eps, a)))

    run = compiled(p, whole)
    return Work(run, lambda eps: [run(eps)])


def loss_of(p: Problem) -> Callable[[Tensor | None], Tensor]:
    x0, (a, t), mean, std = p.x0, steps(p), p.network.mean, p.network.std
    constant = 0.5 * math.log(2 * math.pi) - 0.5 * p.case.T * math.log(p.beta)

    def loss(eps: Tensor | None) -> Tensor:
        eps = normals(p) if eps is None else eps
        x = trajectory(p, x0, eps, a)
        value = functional.softplus(apply(std, x, t))
        z = (torch.cat((x0[None], x[:-1])) - apply(mean, x, t)) / value
        terms = (0.5 * z * z + torch.log(value) - 0.5 * eps * eps).sum() + 0.5 * x[-1].square().sum()
        return (terms / x0.numel() + constant) / (p.case.T + 1)

    return loss


def variational_bound(p: Problem) -> Work:
    return tutorial.differentiated(p, compiled(p, loss_of(p)))


def training_step(p: Problem) -> Work:
    return tutorial.stepped(p, compiled(p, loss_of(p)))


def reverse_process(p: Problem) -> Work:
    """Only a step is compiled. The loop over steps is in Python: torch.compile would unroll it."""
    mean, std, c, times = p.network.mean, p.network.std, p.case, steps(p)[1]

    def step(x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return apply(mean, x, t) + functional.softplus(apply(std, x, t)) * eps

    one = compiled(p, step)

    @torch.no_grad()
    def result(x: Tensor | None = None, eps: Tensor | None = None) -> list[Tensor]:
        x = torch.randn(c.N, c.D, device=c.device) if x is None else x
        eps = normals(p) if eps is None else eps
        for t in reversed(range(c.T)):
            x = one(x, eps[t], times[t])
            if c.device == "cuda":
                x = x.clone()  # the next replay of the CUDA graph overwrites it
        return [x.clone()]

    return Work(result, result)


def train_and_sample(p: Problem, iterations: int) -> tuple[list[float], Tensor]:
    """Return the losses of training, and samples."""
    return tutorial.trained(p, compiled(p, loss_of(p)), iterations), reverse_process(p).run()[0]

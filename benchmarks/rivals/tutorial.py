"""The tutorial: each operation's reference, eager, with noise from torch's own generator."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.problem import LR, WEIGHT_DECAY, Problem, Work, too_much_for_autograd
from kernels.forward_process import reference as forward
from kernels.reverse_process import reference as reverse
from kernels.variational_bound import reference as bound

PACKAGES, STYLE = (), ("#8b97a3", "v")


def gap(case: Case, size: str) -> str | None:
    if (case.op, size) == ("tutorial", "short"):
        return "takes five minutes: in the full run only"
    return too_much_for_autograd(case)


def noise(p: Problem) -> Work:
    c = p.case
    return Work(lambda: torch.randn(c.T, c.N, c.D, device=c.device), None)


def forward_process(p: Problem) -> Work:
    x0, betas = p.x0, p.schedule.betas.float().to(p.case.device)
    return Work(lambda: forward.trajectory(x0, betas), lambda eps: [forward.trajectory(x0, betas, eps)])


def loss_of(p: Problem) -> Callable[[Tensor | None], Tensor]:
    network, x0, betas = p.network, p.x0, p.schedule.betas.float().to(p.case.device)
    return lambda eps: bound.bound(network, x0, betas, eps)


def differentiated(p: Problem, loss: Callable[[Tensor | None], Tensor]) -> Work:
    """Return the work that computes the loss and every gradient."""
    parameters = list(p.network.parameters())

    def result(eps: Tensor | None = None) -> list[Tensor]:
        p.network.zero_grad(set_to_none=True)
        value = loss(eps)
        value.backward()
        return [value.detach().reshape(1), *(w.grad for w in parameters if w.grad is not None)]

    return Work(result, result)


def stepped(p: Problem, loss: Callable[[Tensor | None], Tensor]) -> Work:
    """Return the work that computes the weights after a step of AdamW."""
    parameters = list(p.network.parameters())
    adamw = torch.optim.AdamW(parameters, lr=LR, weight_decay=WEIGHT_DECAY)

    def result(eps: Tensor | None = None) -> Sequence[Tensor]:
        adamw.zero_grad()
        loss(eps).backward()
        adamw.step()
        return parameters

    return Work(result, result)


def variational_bound(p: Problem) -> Work:
    return differentiated(p, loss_of(p))


def training_step(p: Problem) -> Work:
    return stepped(p, loss_of(p))


def reverse_process(p: Problem) -> Work:
    c, network = p.case, p.network

    @torch.no_grad()
    def result(x: Tensor | None = None, eps: Tensor | None = None) -> list[Tensor]:
        x = torch.randn(c.N, c.D, device=c.device) if x is None else x
        return [reverse.history(network, x, c.T, eps)[-1]]

    return Work(result, result)


def trained(p: Problem, loss: Callable[[Tensor | None], Tensor], iterations: int) -> list[float]:
    """Train, and return the losses."""
    adamw = torch.optim.AdamW(p.network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    losses = []
    for _ in range(iterations):
        adamw.zero_grad()
        value = loss(None)
        value.backward()
        adamw.step()
        losses.append(value.item())
    return losses


def train_and_sample(p: Problem, iterations: int) -> tuple[list[float], Tensor]:
    """Return the losses of training, and samples."""
    return trained(p, loss_of(p), iterations), reverse_process(p).run()[0]

"""This project's backends. They draw the stream's noise: the checks compare on the same, so it need not be passed."""

import functools
from collections.abc import Callable
from types import SimpleNamespace

import torch

import ddpm
from benchmarks.problem import LR, WEIGHT_DECAY, Problem, Work
from ddpm.cuda_graph import WARM_UP, capture, on_side_stream
from kernels import noise


def recorded(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """In a CUDA graph, at the first call: what ddpm.train does."""

    @functools.cache
    def graph() -> Callable[[], None]:
        with on_side_stream(device):
            for _ in range(WARM_UP):
                step()
            return capture(step)

    return lambda: graph()()


def backend(name: str) -> SimpleNamespace:
    """The operations on a backend."""

    def diffusion(p: Problem) -> ddpm.Diffusion:
        return ddpm.Diffusion(p.network, p.schedule, name)

    def normals(p: Problem) -> Work:
        def run() -> torch.Tensor:
            return noise.normal(p.case.N, p.case.D, p.case.T, device=torch.device(p.case.device), backend=name)

        return Work(run, lambda *_: [run()])

    def forward_process(p: Problem) -> Work:
        model, x0 = diffusion(p), p.x0
        return Work(lambda: model.forward_process(x0), lambda *_: [model.forward_process(x0)])

    def variational_bound(p: Problem) -> Work:
        model, x0 = diffusion(p), p.x0

        def result(*_: torch.Tensor) -> list[torch.Tensor]:
            loss = model.backward(x0)
            return [loss.reshape(1), *(w.grad for w in model.parameters())]

        return Work(lambda: model.backward(x0), result)

    def training_step(p: Problem) -> Work:
        model, x0, on_cuda = diffusion(p), p.x0, p.case.device == "cuda"
        parameters = list(model.parameters())
        adamw = torch.optim.AdamW(parameters, lr=LR, weight_decay=WEIGHT_DECAY, fused=True, capturable=on_cuda)
        iteration: int | torch.Tensor = torch.zeros((), dtype=torch.int64, device="cuda") if on_cuda else 0

        def step() -> None:
            nonlocal iteration
            model.backward(x0, step=iteration)
            adamw.step()
            iteration += 1  # in place, where it is a tensor

        def result(*_: torch.Tensor) -> list[torch.nn.Parameter]:
            step()
            return parameters

        return Work(recorded(step, x0.device) if on_cuda and name == "triton" else step, result)

    def reverse_process(p: Problem) -> Work:
        model, count = diffusion(p), p.case.N
        return Work(lambda: model.sample(count), lambda *_: [model.sample(count)])

    def train_and_sample(p: Problem, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
        model = diffusion(p)
        losses = ddpm.train(model, p.x0, iterations, lr=LR, weight_decay=WEIGHT_DECAY, progress=False).losses
        return losses, model.sample(p.case.N, seed=1)

    return SimpleNamespace(
        noise=normals,
        forward_process=forward_process,
        variational_bound=variational_bound,
        training_step=training_step,
        reverse_process=reverse_process,
        train_and_sample=train_and_sample,
    )

"""This project's backends. They draw the stream's noise: the checks compare on the same, so it need not be passed."""

from types import SimpleNamespace

import torch

import ddpm
from benchmarks.problem import LR, WEIGHT_DECAY, Problem, Work
from kernels import noise


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
        model, x0, iteration = diffusion(p), p.x0, 0
        parameters = list(model.parameters())
        adamw = torch.optim.AdamW(parameters, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)

        def run() -> list[torch.nn.Parameter]:
            nonlocal iteration
            model.backward(x0, step=iteration)
            adamw.step()
            iteration += 1
            return parameters

        return Work(run, lambda *_: run())

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

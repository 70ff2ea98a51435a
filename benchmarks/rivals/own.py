"""This project's backends. They draw the noise stream themselves, and the checks use the same noise."""

import functools
import itertools
from collections.abc import Callable

import torch

import ddpm
from benchmarks.cases import Case
from benchmarks.problem import LR, WEIGHT_DECAY, Problem, Work
from ddpm.cuda_graph import WARM_UP, capture, on_side_stream
from kernels import backends, networks, noise
from kernels.training_step import AdamW, training_step


def recorded(step: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return `step` as a CUDA graph, recorded at the first call, as ddpm.train does."""

    @functools.cache
    def graph() -> Callable[[], object]:
        with on_side_stream(device):
            for _ in range(WARM_UP):
                step()
            return capture(step)

    return lambda: graph()()


def step_in_torch(model: ddpm.Diffusion, p: Problem) -> Callable[[], object]:
    on_cuda = p.case.device == "cuda"
    adamw = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True, capturable=on_cuda)
    iteration: int | torch.Tensor = torch.zeros((), dtype=torch.int64, device="cuda") if on_cuda else 0

    def step() -> None:
        nonlocal iteration
        adamw.zero_grad()
        model.backward(p.x0, step=iteration)
        adamw.step()
        iteration += 1  # in place, if it is a tensor

    return step


def step_in_one_call(model: ddpm.Diffusion, p: Problem) -> Callable[[], object]:
    pair, iterations = networks.describe(model.network), itertools.count()
    assert pair is not None
    first, second = ([torch.zeros_like(w) for w in pair.tensors] for _ in range(2))
    adamw = AdamW(first, second, [torch.zeros(()) for _ in pair.tensors], WEIGHT_DECAY)
    steps = training_step(pair, p.x0, p.schedule.betas, adamw, backend=model.backend)
    return lambda: steps.run(next(iterations), LR)


class Own:
    """The operations of one of our backends."""

    PACKAGES: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name
        # from pale to strong orange, in the order of increasing speed
        colors, markers = ("#f3d5c2", "#e9b48f", "#e0763a", "#c2410c", "#7c2d12"), "osDph"
        place = list(backends.REGISTERED).index(name)
        self.STYLE = colors[place % len(colors)], markers[place % len(markers)]

    def gap(self, case: Case, size: str) -> str | None:
        return backends.get(self.name).missing(case.device)

    def diffusion(self, p: Problem) -> ddpm.Diffusion:
        return ddpm.Diffusion(p.network, p.schedule, self.name)

    def noise(self, p: Problem) -> Work:
        def run() -> torch.Tensor:
            return noise.normal(p.case.N, p.case.D, p.case.T, device=torch.device(p.case.device), backend=self.name)

        return Work(run, lambda *_: [run()])

    def forward_process(self, p: Problem) -> Work:
        model, x0 = self.diffusion(p), p.x0
        return Work(lambda: model.forward_process(x0), lambda *_: [model.forward_process(x0)])

    def variational_bound(self, p: Problem) -> Work:
        model, x0 = self.diffusion(p), p.x0
        parameters = list(model.parameters())

        def run() -> torch.Tensor:
            for w in parameters:
                w.grad = None
            return model.backward(x0)

        def result(*_: torch.Tensor) -> list[torch.Tensor | None]:
            loss = run()
            return [loss.reshape(1), *(w.grad for w in parameters)]

        return Work(run, result)

    def training_step(self, p: Problem) -> Work:
        model, backend = self.diffusion(p), backends.get(self.name)
        step = step_in_one_call(model, p) if backend.has("training_step") else step_in_torch(model, p)

        def result(*_: torch.Tensor) -> list[torch.nn.Parameter]:
            step()
            return list(model.parameters())

        in_graph = p.case.device == "cuda" and backend.in_cuda_graphs
        return Work(recorded(step, p.x0.device) if in_graph else step, result)

    def reverse_process(self, p: Problem) -> Work:
        model, count = self.diffusion(p), p.case.N
        return Work(lambda: model.sample(count), lambda *_: [model.sample(count)])

    def train_and_sample(self, p: Problem, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
        model = self.diffusion(p)
        losses = ddpm.train(model, p.x0, iterations, lr=LR, weight_decay=WEIGHT_DECAY, progress=False).losses
        return losses, model.sample(p.case.N, seed=1)

"""The sampling loop of diffusers, with a network of the case's width that predicts the noise.

Its parametrisation differs from ours (Ho 2020, Eq. 11, with a fixed variance), and it has one network instead of two.
Its results cannot be compared with ours, so its steps are compared with Eq. 11 itself.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import Case
from benchmarks.problem import Problem, Work

with contextlib.suppress(ImportError):
    from diffusers import DDPMScheduler

PACKAGES, STYLE = ("diffusers",), ("#8a63a8", "*")


def gap(case: Case, size: str) -> str | None:
    return None


def reverse_process(p: Problem) -> Work:
    c = p.case
    network = nn.Sequential(nn.Linear(c.D + 1, c.H), nn.ReLU(), nn.Linear(c.H, c.D)).to(c.device)
    scheduler: Any = DDPMScheduler(
        c.T, beta_start=p.beta, beta_end=p.beta, beta_schedule="linear", clip_sample=False, variance_type="fixed_small"
    )
    scheduler.set_timesteps(c.T)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return network(torch.cat((x, (t / c.T).expand(len(x), 1).to(x)), 1))

    @torch.no_grad()
    def run(x: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        x = torch.randn(c.N, c.D, device=c.device) if x is None else x
        for t in scheduler.timesteps:
            x = scheduler.step(predict(x, t), t, x, generator=generator).prev_sample
        return x

    check(run, predict, p)
    return Work(run, None)


@torch.no_grad()
def check(run: Callable[..., Tensor], predict: Callable[[Tensor, Tensor], Tensor], p: Problem) -> None:
    """Check that the loop gives the same samples as Eq. 11, written out here, on the same draws."""
    c, start = p.case, torch.linspace(-1, 1, 4, device=p.case.device)[:, None].expand(4, p.case.D)
    generator = torch.Generator(c.device)
    found, generator, x = run(start, generator.manual_seed(0)), generator.manual_seed(0), start
    alphas = (1 - p.beta) ** torch.arange(c.T + 1, dtype=torch.float64)
    for t in reversed(range(c.T)):
        x = (x - p.beta / (1 - alphas[t + 1]).sqrt() * predict(x, torch.tensor(t))) / (1 - p.beta) ** 0.5
        if t > 0:
            variance = (1 - alphas[t]) / (1 - alphas[t + 1]) * p.beta
            x = x + variance.sqrt() * torch.randn(x.shape, generator=generator, device=c.device)
        x = x.float()
    if not torch.allclose(found, x, rtol=1e-3, atol=1e-4):
        raise AssertionError("diffusers' steps are not those of Ho 2020, Eq. 11")

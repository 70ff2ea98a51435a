"""A DDPM in plain PyTorch, as in the popular small examples. It predicts the noise (Ho 2020, Eq. 14)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.data import Array, Split

TIMESTEPS, WIDTH, BATCH, LEARNING_RATE = 1000, 128, 512, 1e-3
STEPS = {True: 10_000, False: 4000}  # of training, for more than 1000 rows and for fewer


def embedding(t: Tensor) -> Tensor:
    """Return sines and cosines [B, WIDTH] of the steps t [B] (Vaswani 2017)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(WIDTH // 2) / (WIDTH // 2))
    angles = t.unsqueeze(1) * frequencies
    return torch.cat((angles.sin(), angles.cos()), 1)


class Noise(nn.Module):
    """The network: it predicts the noise in x_t from x_t, t and the class."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.inputs, self.time = nn.Linear(dim + classes, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.hidden = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(3)])
        self.outputs = nn.Linear(WIDTH, dim)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        h = self.inputs(torch.cat((x, condition), 1)) + self.time(embedding(t))
        for layer in self.hidden:
            h = h + layer(functional.silu(h))
        return self.outputs(functional.silu(h))


class Plain:
    """Standardised columns, a linear schedule, AdamW on the mean squared error, ancestral sampling."""

    def __init__(self, split: Split, seed: int, steps: int | None = None) -> None:
        self.mean, self.std = split.train.mean(0), np.maximum(split.train.std(0), 1e-12)
        self.classes = 0 if split.train_classes is None else int(split.train_classes.max()) + 1
        self.counts = None if split.train_classes is None else np.bincount(split.train_classes)
        beta = torch.linspace(1e-4, 0.02, TIMESTEPS)
        self.beta, self.alpha_bar = beta, torch.cumprod(1 - beta, 0)
        x, condition = self.scaled(split.train), self.one_hot(split.train_classes, len(split.train))
        self.network = Noise(x.shape[1], self.classes)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE)
        for _ in range(steps or STEPS[len(x) > 1000]):
            rows = torch.randint(len(x), (min(BATCH, len(x)),))
            t, eps = torch.randint(TIMESTEPS, (len(rows),)), torch.randn(len(rows), x.shape[1])
            kept = self.alpha_bar[t].unsqueeze(1)
            found = self.network(kept.sqrt() * x[rows] + (1 - kept).sqrt() * eps, t, condition[rows])
            loss = functional.mse_loss(found, eps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.network.eval()

    def scaled(self, x: Array) -> Tensor:
        return torch.from_numpy((x - self.mean) / self.std).float()

    def one_hot(self, classes: NDArray[np.intp] | None, count: int) -> Tensor:
        return torch.zeros(count, 0) if classes is None else torch.eye(self.classes)[torch.from_numpy(classes)]

    def log_density(self, x: Array) -> None:
        return None

    @torch.no_grad()
    def bound(self, x: Array) -> Array:
        """Return a lower bound of the log-density in nats: the variational bound, summed over the classes.

        Noise in its terms makes the logarithm of a sum larger. Each term is thus the mean of several estimates, and
        all classes have the same noise.
        """
        if self.counts is None:
            return self.of_class(x, None, 0) - np.log(self.std).sum()
        logs = [
            np.mean([self.of_class(x, np.full(len(x), k), draw) for draw in range(8)], axis=0) + math.log(share)
            for k, share in enumerate(self.counts / self.counts.sum())
        ]
        return np.logaddexp.reduce(logs, axis=0) - np.log(self.std).sum()

    def of_class(self, rows: Array, classes: NDArray[np.intp] | None, draw: int) -> Array:
        """Estimate the negative bound of each row, from KL divergences of single steps (Ho 2020, Eq. 5)."""
        generator = torch.Generator().manual_seed(draw)
        x0, condition = self.scaled(rows), self.one_hot(classes, len(rows))
        last = self.alpha_bar[-1]
        total = -0.5 * (last * x0**2 + (1 - last) - 1 - torch.log(1 - last)).sum(1).double()
        for t in range(TIMESTEPS):
            kept, beta = self.alpha_bar[t], self.beta[t]
            eps = torch.randn(x0.shape, generator=generator)
            found = self.network(kept.sqrt() * x0 + (1 - kept).sqrt() * eps, torch.full((len(x0),), t), condition)
            mean_difference = beta / ((1 - beta) * (1 - kept)).sqrt() * (found - eps)
            if t == 0:  # -log p(x_0 | x_1), with the variance beta_1
                total -= 0.5 * (mean_difference**2 / beta + torch.log(2 * math.pi * beta)).sum(1).double()
            else:
                variance = beta * (1 - self.alpha_bar[t - 1]) / (1 - kept)
                total -= 0.5 * (mean_difference**2 / variance).sum(1).double()
        return total.numpy()

    @torch.no_grad()
    def sample(self, count: int, draw: int) -> tuple[Array, NDArray[np.intp] | None]:
        torch.manual_seed(draw)
        classes = None
        if self.counts is not None:
            classes = np.repeat(np.arange(self.classes), self.counts)[torch.randperm(int(self.counts.sum()))[:count]]
        x, condition = torch.randn(count, len(self.mean)), self.one_hot(classes, count)
        for t in range(TIMESTEPS - 1, -1, -1):
            kept, beta = self.alpha_bar[t], self.beta[t]
            found = self.network(x, torch.full((count,), t), condition)
            x = (x - beta / (1 - kept).sqrt() * found) / (1 - beta).sqrt()
            if t > 0:
                variance = beta * (1 - self.alpha_bar[t - 1]) / (1 - kept)
                x = x + variance.sqrt() * torch.randn_like(x)
        return x.double().numpy() * self.std + self.mean, classes

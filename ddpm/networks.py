"""The tutorial's pair of networks."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from kernels import arguments
from kernels.gaussian import STD_FLOOR


class GaussianMLP(nn.Module):
    """p(x_{t-1} | x_t) = N(mean(x_t, t), std(x_t, t)^2) from two multilayer perceptrons.

    The initial weights are torch's usual ones, drawn with `seed` and not from the global generator.

    Attributes:
        dim, hidden: D, and the widths of the hidden layers.
        mean: Linear, ReLU, ..., Linear on [x, t], nn.Sequential.
        std: the same and Softplus; `forward` raises its value to 1e-6 at least, so that log std stays finite.
    """

    def __init__(self, dim: int = 1, hidden: tuple[int, ...] = (4,), *, seed: int = 0) -> None:
        super().__init__()
        arguments.integer("dim", dim, 1, 2**24)
        for width in hidden:
            arguments.integer("hidden", width, 1, 2**24)
        arguments.integer("seed", seed, -(2**63), 2**64 - 1)
        if not hidden:
            raise ValueError("hidden must name at least one layer; got ()")
        self.dim, self.hidden = dim, tuple(hidden)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mean = nn.Sequential(*self._layers())
            self.std = nn.Sequential(*self._layers(), nn.Softplus())

    def _layers(self) -> list[nn.Module]:
        widths = [self.dim + 1, *self.hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return [*layers, nn.Linear(widths[-1], self.dim)]

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(x [B, D], t [B, 1] = t / (T + 1)) -> (mean [B, D], std [B, D])."""
        inputs = torch.cat((x, t), dim=1)
        return self.mean(inputs), self.std(inputs).clamp_min(STD_FLOOR)

    def weights(self) -> tuple[Tensor, ...] | None:
        """What the fused kernels take (see kernels.variational_bound), or None with more than one hidden layer."""
        if len(self.hidden) > 1:
            return None
        # not parameters(), which walks the module tree: this is in the hot loop
        layers = (layer for network in (self.mean, self.std) for layer in network if isinstance(layer, nn.Linear))
        return tuple(p for layer in layers for p in (layer.weight, layer.bias))

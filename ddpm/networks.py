"""The tutorial's pair of networks."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from kernels import arguments
from kernels.constants import STD_FLOOR
from kernels.networks import Layer, MLPPair

ACTIVATIONS = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh"}
TENSORS = (nn.Parameter, Tensor)  # no subclass, whose products could be anything


class GaussianMLP(nn.Module):
    """p(x_{t-1} | x_t) = N(mean(x_t, t), std(x_t, t)^2) from two multilayer perceptrons.

    The initial weights are torch's usual ones, drawn with `seed` and not from the global generator.

    Attributes:
        dim, hidden: D, and the widths of the hidden layers; a single width is one layer.
        mean: Linear, ReLU, ..., Linear on [x, t], nn.Sequential.
        std: the same and Softplus; `forward` raises its value to 1e-6 at least, so that log std stays finite.
    """

    def __init__(self, dim: int = 1, hidden: int | Iterable[int] = (4,), *, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(hidden, Iterable):
            hidden = (hidden,)
        self.dim = arguments.integer("dim", dim, 1, 2**24)
        self.hidden = tuple(arguments.integer("hidden", width, 1, 2**24) for width in hidden)
        if not self.hidden:
            raise ValueError("hidden must name at least one layer; got ()")
        seed = arguments.integer("seed", seed, -(2**63), 2**64 - 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the generators of GPUs too
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

    def as_mlp_pair(self) -> MLPPair | None:
        """The same as a value that kernels can hold, or None where calling the module could do anything else.

        That is where a subclass has a `forward` of its own, where there are hooks, parametrizations or other layers
        than those of the class, and where the two networks have different activations. The class may be changed in
        place at any time, so nothing of this is remembered.
        """
        if type(self).forward is not FORWARDS[GaussianMLP] or _has_any_global_hook() or not _does_no_more(self):
            return None
        mean, std = _perceptron(self.mean), _perceptron(self.std, ends_in_softplus=True)
        if mean is None or std is None or len(mean[1] | std[1]) > 1:
            return None
        activation = next(iter(mean[1] | std[1]), "relu")
        try:
            pair = MLPPair(mean[0], std[0], activation)
        except (ValueError, TypeError):  # layers that torch may still broadcast
            return None
        return pair if pair.dim == self.dim else None


# as they are at import: classes too can be patched
FORWARDS = {
    kind: kind.forward for kind in (GaussianMLP, nn.Sequential, nn.Linear, nn.ReLU, nn.SiLU, nn.Tanh, nn.Softplus)
}
CALL, CALL_IMPL = nn.Module.__call__, nn.Module._call_impl


def _perceptron(network: nn.Module, ends_in_softplus: bool = False) -> tuple[tuple[Layer, ...], set[str]] | None:
    """The layers of Linear, activation, ..., Linear, and the activations; None if `network` is anything else."""
    if type(network) is not nn.Sequential or not _does_no_more(network):
        return None
    modules = list(network._modules.values())
    if ends_in_softplus:
        last = modules.pop() if modules else None
        if type(last) is not nn.Softplus or (last.beta, last.threshold) != (1, 20) or not _does_no_more(last):
            return None
    layers, activations = [], set()
    for i, module in enumerate(modules):
        if module is None or not _does_no_more(module):
            return None
        if i % 2:
            activations.add(ACTIVATIONS.get(type(module), ""))
            continue
        weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
        if type(module) is not nn.Linear or type(weight) not in TENSORS or type(bias) not in TENSORS:
            return None
        assert weight is not None
        assert bias is not None
        layers.append(Layer(weight, bias))
    if "" in activations or len(modules) % 2 == 0:
        return None
    return tuple(layers), activations


def _does_no_more(module: nn.Module) -> bool:
    """Whether a call of `module` is a call of its class's `forward`, as it was imported, and nothing else."""
    kind = type(module)
    own = (
        "forward" in module.__dict__
        or "_call_impl" in module.__dict__
        or kind.__call__ is not CALL
        or kind._call_impl is not CALL_IMPL
        or (kind in FORWARDS and kind.forward is not FORWARDS[kind])
    )
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return not own and not hooks

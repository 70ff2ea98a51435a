"""The tutorial's pair of networks, with options for data that is harder to learn."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from ddpm.schedule import Schedule
from kernels import arguments
from kernels.networks import Layer, MLPPair, StepTables, gaussian, input_width, inputs

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
NAMES = {kind: name for name, kind in ACTIVATIONS.items()}
TENSORS = (nn.Parameter, Tensor)  # not a subclass, which may compute anything


class GaussianMLP(nn.Module):
    """Two multilayer perceptrons for p(x_{t-1} | x_t) = N(mean(x_t, t), std(x_t, t)^2).

    The defaults are the tutorial's. The initial weights are torch's usual ones. They are drawn with `seed`, not from
    the global generator.

    Args:
        dim: D, the number of columns of x.
        hidden: the widths of the hidden layers; a single int is one layer.
        activation: "relu", "silu" or "tanh", after every hidden layer.
        features: frequencies w of Fourier features (Tancik 2020), from -1000 to 1000. For each w, sin(w x) and cos(w x)
            of every column are inputs beside x and the time. (2, 4, 8, 16) suits columns of standard deviation 1 with
            sharp edges.
        preconditioned: a schedule, or None as in the tutorial. With a schedule, mean = sqrt(1 - beta_t) x_t +
            sqrt(beta_t) f and std = sqrt(beta_t) g, where f and g are the outputs of the perceptrons. So the network
            learns only the difference from the reversed forward process. At the start f = 0 and g = 1, which is exact
            for data from N(0, 1). The time input is a quarter of the log-SNR. With None, mean = f, std = g, and the
            time input is t / (T + 1).
        shared: whether mean and std share their hidden layers, which halves the time.
        condition_dim: C, how many numbers the network is conditioned on, besides x and the time.
        dropout: the share of hidden units that are left out at random in training mode (Srivastava 2014). A new
            network with dropout is in evaluation mode. ddpm.train puts it into training mode while it runs.
        seed: the seed of the initial weights.

    Attributes:
        trunk: nn.Sequential of the shared hidden layers; empty unless `shared`.
        mean: nn.Sequential of Linear, activation, ..., Linear.
        std: nn.Sequential of the same layers and Softplus. `forward` returns a std of at least 1e-6, so that log std
            stays finite.
        tables: a buffer [4, T] with the rows of kernels.networks.StepTables; None unless `preconditioned`.

    Raises:
        TypeError, ValueError: a bad argument.
    """

    tables: Tensor | None

    def __init__(
        self,
        dim: int = 1,
        hidden: int | Iterable[int] = (4,),
        *,
        activation: str = "relu",
        features: Iterable[float] = (),
        preconditioned: Schedule | None = None,
        shared: bool = False,
        condition_dim: int = 0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(hidden, Iterable):
            hidden = (hidden,)
        self.dim = arguments.integer("dim", dim, 1, 2**24)
        self.hidden = tuple(arguments.integer("hidden", width, 1, 2**24) for width in hidden)
        if not self.hidden:
            raise ValueError("hidden must name at least one layer; got ()")
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
        if preconditioned is not None and not isinstance(preconditioned, Schedule):
            raise TypeError(f"preconditioned must be a ddpm.Schedule or None; got {type(preconditioned).__name__}")
        self.activation, self.shared = activation, bool(shared)
        self.features = tuple(arguments.number("features", w, -1000, 1000) for w in features)
        self.condition_dim = arguments.integer("condition_dim", condition_dim, 0, 2**24)
        self.dropout = arguments.number("dropout", dropout, 0, 1)
        seed = arguments.integer("seed", seed, -(2**63), 2**64 - 1)
        widths = [input_width(self.dim, self.features, self.condition_dim), *self.hidden]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
            self.trunk = nn.Sequential(*self._hidden_layers(widths if shared else []))
            self.mean, self.std = (
                nn.Sequential(*self._hidden_layers([] if shared else widths), nn.Linear(widths[-1], self.dim), *last)
                for last in ((), (nn.Softplus(),))
            )
        self.register_buffer("tables", None if preconditioned is None else torch.stack(tables_of(preconditioned)))
        if preconditioned is not None:
            for layer, bias in ((self.mean[-1], 0.0), (self.std[-2], math.log(math.e - 1))):  # its softplus is 1
                assert isinstance(layer, nn.Linear)
                nn.init.zeros_(layer.weight)
                nn.init.constant_(layer.bias, bias)
        if self.dropout:
            self.eval()

    def _hidden_layers(self, widths: list[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), ACTIVATIONS[self.activation]()]
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return layers

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation of p(x_{t-1} | x_t).

        Args:
            x: the states x_t, [B, D].
            t: the times t / (T + 1), [B, 1].
            condition: [B, C], if the network is conditioned.

        Returns:
            The mean and the standard deviation, each [B, D].
        """
        constants = None if self.tables is None else StepTables(*self.tables).at(t)
        h = self.trunk(inputs(x, self.features, condition, t if constants is None else constants.time))
        return gaussian(x, self.mean(h), self.std(h), constants)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments for a network with the same layers; `preconditioned` is only True or False."""
        names = ("dim", "hidden", "activation", "features", "shared", "condition_dim", "dropout")
        return {name: getattr(self, name) for name in names} | {"preconditioned": self.tables is not None}

    def as_mlp_pair(self) -> MLPPair | None:
        """Return the network in the form that kernels can hold, or None if a call of the module may do anything else.

        It is None if a subclass has its own `forward`, if there are hooks, parametrizations or layers that the class
        does not make, if dropout is active, or if the networks have different activations. All of these can change at
        any time, so the result is not cached.
        """
        if type(self).forward is not FORWARDS[GaussianMLP] or _has_any_global_hook() or not is_plain(self):
            return None
        trunk, mean = _layers(self.trunk), _layers(self.mean)
        std = _layers(self.std, ends_in_softplus=True)
        if trunk is None or mean is None or std is None:
            return None
        activations = trunk[1] | mean[1] | std[1]
        if len(activations) > 1 or trunk[2] or not mean[2] or not std[2]:
            return None
        tables = None if self.tables is None else StepTables(*self.tables)
        try:
            activation = next(iter(activations), "relu")
            pair = MLPPair(mean[0], std[0], activation, tables, trunk[0], self.features, self.condition_dim)
        except (ValueError, TypeError):  # the layers do not fit together, but torch may broadcast them
            return None
        return pair if pair.dim == self.dim else None


def tables_of(schedule: Schedule) -> StepTables:
    """Return the float32 constants of a network that is preconditioned for a schedule."""
    betas, alpha_bar = schedule.betas, schedule.alpha_bar
    skip, out = torch.sqrt(1 - betas), torch.sqrt(betas)
    return StepTables(*(table.float() for table in (skip, out, out, torch.logit(alpha_bar) / 4)))


# the methods at import: a class can be patched later
FORWARDS = {
    kind: kind.forward
    for kind in (
        *(GaussianMLP, nn.Sequential, nn.Linear, nn.Softplus, nn.Dropout),
        *(nn.ReLU, nn.SiLU, nn.Tanh),
    )
}
CALL, CALL_IMPL = nn.Module.__call__, nn.Module._call_impl


def _layers(network: nn.Module, ends_in_softplus: bool = False) -> tuple[tuple[Layer, ...], set[str], bool] | None:
    """Return the layers of Linear, activation, Linear ..., the activations, and whether Linear (and Softplus) is last.

    Return None if `network` is anything else.
    """
    if type(network) is not nn.Sequential or not is_plain(network):
        return None
    modules = list(network._modules.values())
    if ends_in_softplus:
        last = modules.pop() if modules else None
        if type(last) is not nn.Softplus or (last.beta, last.threshold) != (1, 20) or not is_plain(last):
            return None
    layers, activations, linear_is_next = [], set(), True
    for module in modules:
        if module is None or not is_plain(module):
            return None
        if type(module) is nn.Dropout and (module.p == 0 or not module.training):
            continue
        if not linear_is_next:
            if type(module) not in NAMES:
                return None
            activations.add(NAMES[type(module)])
        elif type(module) is nn.Linear:
            weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
            if type(weight) not in TENSORS or type(bias) not in TENSORS:
                return None
            assert weight is not None
            assert bias is not None
            layers.append(Layer(weight, bias))
        else:
            return None
        linear_is_next = not linear_is_next
    return tuple(layers), activations, not linear_is_next


def is_plain(module: nn.Module) -> bool:
    """Return whether a call of `module` runs only the `forward` of its class, unchanged since import."""
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

"""Weights besides those that the optimizer updates: their moving average, and the best on a validation set."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Weights = dict[str, Tensor]

KINDS = TRAINED, AVERAGE, BEST = "trained", "average", "best"


def copy_of(network: nn.Module) -> Weights:
    """Return a copy of the parameters of a network, by name."""
    return {name: p.detach().clone() for name, p in network.named_parameters()}


@torch.no_grad()
def put(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Set the parameters of a network to these values."""
    for name, p in network.named_parameters():
        p.copy_(weights[name])


class Averages:
    """The average and the best weights of a network, kept while it is trained.

    Args:
        kept: weights of earlier training, by kind (TRAINED, AVERAGE, BEST) and by name; changed in place.
        network: the network to train. If it has the weights that `finish` gave it, it gets its trained weights back. If
            it was changed since then, training starts from its own weights, and `kept` is cleared.
        ema_decay: decay of the exponential moving average, or None for no average. In iteration n, counted from
            0, it is at most (1 + n) / (10 + n), so that early averages cover fewer iterations.
        validated: whether there is a validation set. Without one, the best weights of earlier training are dropped.
    """

    def __init__(self, kept: dict[str, Weights], network: nn.Module, ema_decay: float | None, validated: bool) -> None:
        self.kept, self.network, self.ema_decay = kept, network, ema_decay
        self._trained: list[Tensor | nn.Parameter] = [p.detach() for p in network.parameters()]
        self._follow()
        if TRAINED in kept:
            put(kept[TRAINED], network)
        if not validated:
            kept.pop(BEST, None)
        if ema_decay is None:
            kept.pop(AVERAGE, None)
        else:
            kept.setdefault(AVERAGE, copy_of(network))

    def _follow(self) -> None:
        """Move the kept weights to the dtype and device of the network, or clear them if the network was changed."""
        parameters = dict(self.network.named_parameters())
        used = self.kept.get(BEST) or self.kept.get(AVERAGE) or {}
        moved = {name: used[name].to(p) for name, p in parameters.items() if name in used}
        if moved.keys() != parameters.keys() or any(not torch.equal(moved[name], p) for name, p in parameters.items()):
            self.kept.clear()
        for weights in self.kept.values():
            weights.update({name: value.to(parameters[name]) for name, value in weights.items()})

    def update(self, iteration: int) -> None:
        """Update the average with the weights after an iteration, counted from 0."""
        if self.ema_decay is not None:
            decay = min(self.ema_decay, (1 + iteration) / (10 + iteration))
            get_ema_multi_avg_fn(decay)(list(self.kept[AVERAGE].values()), self._trained, iteration)

    def current(self) -> Weights:
        """Return the weights to use if training ended now: the average if there is one, else those of the network."""
        return self.kept.get(AVERAGE) or copy_of(self.network)

    @contextlib.contextmanager
    def in_use(self, kind: str = AVERAGE) -> Iterator[None]:
        """Put the network into evaluation mode with the weights of a kind, if there are any; undo both at the end."""
        trained, training = copy_of(self.network), self.network.training
        if kind in self.kept:
            put(self.kept[kind], self.network)
        self.network.eval()
        try:
            yield
        finally:
            self.network.train(training)
            put(trained, self.network)

    def keep_best(self) -> None:
        """Keep the current weights as the best."""
        self.kept[BEST] = {name: value.clone() for name, value in self.current().items()}

    def finish(self) -> None:
        """Give the network the best weights, or else the average, and keep its trained weights for further training."""
        used = self.kept.get(BEST) or self.kept.get(AVERAGE)
        if used is not None:
            self.kept[TRAINED] = copy_of(self.network)
            put(used, self.network)
        else:
            self.kept.clear()

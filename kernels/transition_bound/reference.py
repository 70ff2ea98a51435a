"""One transition's part of the bound by torch.distributions, its gradients by autograd."""

from torch import Tensor
from torch.distributions import Normal


def transition_bound(previous: Tensor, mean: Tensor, std: Tensor, variance: Tensor | None) -> Tensor:
    """Return E[-log p(x_{t-1} | x_t)] in nats, the mean over all elements. Any shape and any floating dtype."""
    at_mean = -Normal(mean, std).log_prob(previous).mean()
    return at_mean if variance is None else at_mean + (variance / (2 * std**2)).mean()

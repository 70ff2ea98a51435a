"""One transition's part of the bound by torch.distributions, its gradients by autograd."""

from torch import Tensor
from torch.distributions import Normal


def transition_bound(previous: Tensor, mean: Tensor, std: Tensor, variance: Tensor | None) -> Tensor:
    """E[-log p(x_{t-1} | x_t)] in nats, E the mean over all elements of tensors of any shape and floating dtype."""
    at_mean = -Normal(mean, std).log_prob(previous).mean()
    return at_mean if variance is None else at_mean + (variance / (2 * std**2)).mean()

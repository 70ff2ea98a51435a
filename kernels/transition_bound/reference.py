"""One transition's part of the bound by torch.distributions, its gradients by autograd."""

from torch import Tensor
from torch.distributions import Normal


def transition_bound(previous: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """E[-log p(x_{t-1} | x_t)] in nats, E the mean over all elements of tensors of any shape and floating dtype."""
    return -Normal(mean, std).log_prob(previous).mean()

"""One transition's part of the bound and its gradients under torch.compile: one loop, for all sizes."""

from torch import Tensor

from kernels.compiled.compiler import Kernel
from kernels.transition_bound import vectorized

kernel = Kernel(vectorized.bound_and_gradients, dynamic=True)


def bound_and_gradients(previous: Tensor, mean: Tensor, std: Tensor, variance: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute vectorized.bound_and_gradients."""
    tensors = (previous, mean, std) if variance is None else (previous, mean, std, variance)
    # a kernel that is compiled for one element cannot be used for more
    return (kernel if len(mean) > 1 else vectorized.bound_and_gradients)(*tensors)

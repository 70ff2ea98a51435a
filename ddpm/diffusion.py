"""A network and a schedule: the forward process, the bound and the reverse process."""

from typing import Any

import torch
from torch import Tensor, nn

from ddpm.networks import GaussianMLP
from ddpm.schedule import Schedule
from kernels import arguments, backends, noise
from kernels.forward_process import forward_process
from kernels.launch import takes
from kernels.reverse_process import any_network as any_reverse_process
from kernels.reverse_process import reference as reference_reverse_process
from kernels.reverse_process import reverse_process
from kernels.variational_bound import any_network as any_variational_bound
from kernels.variational_bound import bound_and_gradients, split, variational_bound
from kernels.variational_bound import reference as reference_variational_bound


class Diffusion(nn.Module):
    """A denoising diffusion probabilistic model (Ho 2020).

    Args:
        network: (x [B, D], t [B, 1]) -> (mean [B, D], std [B, D]), with an int attribute `dim`, treating every row
            alike. A GaussianMLP with one hidden layer (on Triton up to D = 8 and H = 64) is part of a fused kernel;
            any other network is called by it, a chunk of time or a step at a time.
        schedule: the betas.
        backend: a name, or None for the best that the network and its device allow.

    Attributes:
        seed, iteration, optimizer_state: where training stands (see ddpm.train).

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that cannot run here.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, backend: str | None = None) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be a torch.nn.Module; got {type(network).__name__}")
        if not isinstance(schedule, Schedule):
            raise TypeError(f"schedule must be a ddpm.Schedule; got {type(schedule).__name__}")
        arguments.integer("network.dim", getattr(network, "dim", None), 1, 2**24)
        self.network, self.schedule = network, schedule
        self.dim: int = network.dim  # type: ignore[assignment]
        self.seed, self.iteration = 0, 0
        self.optimizer_state: dict[str, Any] | None = None
        self._backend = backend
        if backend is not None:
            # a model for Triton may be made, or loaded, on the CPU and moved afterwards; each call checks again
            moves = backend == "triton" and torch.cuda.is_available()
            backends.check(backend, "cuda" if moves else self._device().type)

    def _weights(self) -> tuple[Tensor, ...] | None:
        return self.network.weights() if isinstance(self.network, GaussianMLP) else None

    def _device(self, weights: tuple[Tensor, ...] | None = None) -> torch.device:
        parameters = weights or self._weights() or self.network.parameters()
        return next((p.device for p in parameters), torch.device("cpu"))

    @property
    def backend(self) -> str:
        """The name of the backend in use."""
        return self._chosen(self._weights())

    def _chosen(self, weights: tuple[Tensor, ...] | None) -> str:
        if self._backend is not None:
            return self._backend
        if weights is None and any(p.dtype != torch.float32 for p in self.network.parameters()):
            return "reference"
        return backends.best(self._device(weights).type)

    def _is_fused(self, weights: tuple[Tensor, ...] | None, backend: str) -> bool:
        """Whether the network is part of the backend's kernels."""
        if weights is None or backend == "reference":
            return False
        return backend != "triton" or takes(self.dim, len(weights[1]))

    def _check(self, x0: Tensor, weights: tuple[Tensor, ...] | None) -> None:
        """Raise unless x0 is where the network is and as wide as it; the ops check the rest."""
        if not isinstance(x0, Tensor):
            raise TypeError(f"x0 must be a torch.Tensor; got {type(x0).__name__}")
        if x0.device != (device := self._device(weights)):
            raise ValueError(f"x0 is on {x0.device}, but the network on {device}")
        if x0.dim() == 2 and x0.shape[1] != self.dim:
            raise ValueError(f"x0 must have shape [N, {self.dim}], the network's dim; got {list(x0.shape)}")

    def _network(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(x, t)
        tensors = isinstance(output, tuple) and all(isinstance(v, Tensor) for v in output)
        shapes = [list(v.shape) for v in output] if tensors else type(output).__name__
        if shapes != [list(x.shape)] * 2:
            raise ValueError(f"network must return (mean, std), both of shape {list(x.shape)}; got {shapes}")
        return output

    def _noise(self, count: int, steps: int, dtype: torch.dtype, **place: Any) -> Tensor:
        eps = noise.normal(count, self.dim, steps, device=self._device(), backend="reference", **place)
        return eps.to(dtype)

    def forward_process(self, x0: Tensor, seed: int = 0, step: int | Tensor = 0, first: int = 0) -> Tensor:
        """x_0 ... x_T for data x0 [N, D]: [T+1, N, D].

        Args:
            x0: float32 (any floating dtype on the reference), finite.
            seed, step, first: place in the noise stream; `first` is the stream's index of row 0 (shards, blocks).
        """
        weights = self._weights()
        self._check(x0, weights)
        backend = self._chosen(weights)
        return forward_process(x0, self.schedule.betas, seed=seed, step=step, first=first, backend=backend)

    def loss(self, x0: Tensor, seed: int = 0, step: int | Tensor = 0, first: int = 0) -> Tensor:
        """The variational bound in nats, divided by T + 1 (Ho 2020, Eq. 3): a scalar, differentiable in the weights.

        Times T + 1, it is never less on average than the entropy of the data plus KL(q(x_T) || N(0, 1)).

        Args:
            x0: data, [N, D] float32 (any floating dtype on the reference), finite.
            seed, step, first: place in the noise stream; `step` is the training iteration.
        """
        betas, weights = self.schedule.betas, self._weights()
        self._check(x0, weights)
        backend = self._chosen(weights)
        place: dict[str, Any] = {"seed": seed, "step": step, "first": first}
        if backend == "reference":
            arguments.points("x0", x0)
            arguments.stream_position(seed, step, first, len(x0), x0.device)
            eps = self._noise(len(x0), len(betas), x0.dtype, **place)
            return reference_variational_bound.variational_bound(self._network, x0, betas, eps)
        if weights is not None and self._is_fused(weights, backend):
            return variational_bound(x0, weights, betas, backend=backend, **place)
        arguments.points("x0", x0)
        arguments.float32("x0", x0, backend)
        parameters = tuple(p for p in self.network.parameters() if p.requires_grad)
        return any_variational_bound.variational_bound(self._network, parameters, x0, betas, backend=backend, **place)

    def backward(self, x0: Tensor, seed: int = 0, step: int | Tensor = 0, first: int = 0) -> Tensor:
        """The loss, detached, with its gradient in the `grad` of every parameter, where it replaces what was there.

        As loss(...).backward() after zero_grad(), but without autograd where the gradients come from a kernel anyway.
        """
        weights = self._weights()
        backend = self._chosen(weights)
        if weights is not None and self._is_fused(weights, backend) and all(w.requires_grad for w in weights):
            self._check(x0, weights)
            betas = self.schedule.betas
            found = bound_and_gradients(x0, weights, betas, seed=seed, step=step, first=first, backend=backend)
            for weight, gradient in zip(weights, split(found, weights), strict=True):
                weight.grad = gradient
            return found[-1]
        self.zero_grad(set_to_none=True)
        loss = self.loss(x0, seed=seed, step=step, first=first)
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, first: int = 0, history: bool = False) -> Tensor:
        """`count` samples, [count, D], or with `history` every state from x_T to x_0, [T+1, count, D].

        On one backend and device a sample depends on (seed, its index) alone: sample(1000)[500:] equals
        sample(500, first=500) bit for bit (on the reference only if the network promises that).
        """
        betas, weights = self.schedule.betas, self._weights()
        backend = self._chosen(weights)
        place: dict[str, Any] = {"seed": seed, "first": first}
        if weights is not None and self._is_fused(weights, backend):
            return reverse_process(weights, betas, count, history=history, backend=backend, **place)
        arguments.integer("count", count, 0, 2**32)
        arguments.stream_position(seed, 0, first, count, self._device())
        if backend != "reference":
            return any_reverse_process.reverse_process(
                self._network, self.dim, len(betas), count, history=history, backend=backend, device=self._device(),
                **place,
            )  # fmt: skip
        dtype = next((p.dtype for p in self.network.parameters()), torch.float32)
        x = self._noise(count, 1, dtype, stream=noise.TERMINAL, **place)[0]
        eps = self._noise(count, len(betas), dtype, stream=noise.REVERSE, **place)
        states = reference_reverse_process.reverse_process(self._network, x, len(betas), eps)
        return states if history else states[-1]

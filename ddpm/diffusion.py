"""A network and a schedule: the forward process, the bound and the reverse process."""

import torch
from torch import Tensor, nn

from ddpm.networks import GaussianMLP, tables_of
from ddpm.schedule import Schedule
from kernels import arguments, backends, networks
from kernels.forward_process import forward_process
from kernels.reverse_process import reverse_process
from kernels.variational_bound import accumulate_gradients, variational_bound


class Diffusion(nn.Module):
    """A denoising diffusion probabilistic model (Ho 2020).

    Args:
        network: (x [B, D], t [B, 1]) -> (mean [B, D], std [B, D]), with an int attribute `dim`, treating every row
            alike. A GaussianMLP with one hidden layer and relu (on Triton up to D = 8 and H = 64; on `native` any
            GaussianMLP for samples and for drawn terms in closed form) is part of a fused kernel, as long as it is what
            its class says; any other network is called, a chunk of time or a step at a time. See `paths`.
        schedule: the betas.
        backend: a name, or None for the best that the network and its device allow.

    Attributes:
        seed, iteration, optimizer_state: where training stands (see ddpm.train); AdamW's state by parameter name.
        kept: weights beside those of the network, by what they are ("trained", "average", "best") and by name.
        best_loss: of the best weights on the validation set, None before there is one.

    Raises:
        TypeError, ValueError, RuntimeError: a bad argument, or a backend that cannot run here.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, backend: str | None = None) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be a torch.nn.Module; got {type(network).__name__}")
        if not isinstance(schedule, Schedule):
            raise TypeError(f"schedule must be a ddpm.Schedule; got {type(schedule).__name__}")
        self.dim = arguments.integer("network.dim", getattr(network, "dim", None), 1, 2**24)
        self.network, self.schedule = network, schedule
        self.seed, self.iteration = 0, 0
        self.optimizer_state: dict[str, dict[str, Tensor]] | None = None
        self.kept: dict[str, dict[str, Tensor]] = {}
        self.best_loss: float | None = None
        self._backend = backend
        backends.check_somewhere(backend, self._described().device.type)
        known = networks.describe(network)
        if known is not None:
            known.check_steps(schedule.steps)
        self._check_tables()

    def get_extra_state(self) -> Tensor:
        """Return what `state_dict` has beside weights, [T + 1] float64: the betas, and the iteration of training."""
        return torch.cat([self.schedule.betas.double(), torch.tensor([float(self.iteration)], dtype=torch.float64)])

    def set_extra_state(self, state: Tensor) -> None:
        """Take the iteration from the state of a Diffusion with the same schedule.

        Raises:
            ValueError: it had another schedule.
        """
        *betas, iteration = state.tolist()
        if betas != self.schedule.betas.tolist():
            raise ValueError(f"the state is of another schedule, T = {len(betas)}, than that of this: {self.schedule}")
        self.iteration = int(iteration)

    def _described(self) -> networks.MLPPair | networks.Called:
        return networks.describe(self.network) or networks.called(self.network)

    @property
    def backend(self) -> str:
        """The name of the backend in use."""
        if self._backend is not None:
            return self._backend
        network = self._described()
        return backends.choose(None, network.device.type, network.dtype).name

    def _check_tables(self) -> None:
        """Raise where a GaussianMLP is preconditioned for another schedule."""
        tables = getattr(self.network, "tables", None)
        if isinstance(self.network, GaussianMLP) and tables is not None:
            expected = torch.stack(tables_of(self.schedule)).to(tables)
            unit = 8 * torch.finfo(tables.dtype).eps  # another machine may have rounded otherwise
            if tables.shape != expected.shape or not torch.allclose(tables, expected, rtol=unit, atol=unit):
                raise ValueError("network is preconditioned for another schedule than this one")

    def paths(self) -> dict[str, str]:
        """Return which way the network takes, by what is asked for: "kernel", or "called: " and why.

        A network that is part of a kernel is computed there; any other is called between the kernels of the rest.
        """
        backend, pair = backends.get(self.backend), networks.describe(self.network)
        why = {
            "loss": backend.why_called(pair, "variational_bound"),
            "loss in closed form": backend.why_called(pair, "variational_bound", closed_form=True),
            "loss of some draws": backend.why_called(pair, "variational_bound", drawn=True),
            "loss of some draws in closed form": backend.why_called(
                pair, "variational_bound", closed_form=True, drawn=True
            ),
            "sample": backend.why_called(pair, "reverse_process"),
        }
        return {what: "kernel" if reason is None else f"called: {reason}" for what, reason in why.items()}

    def check_points(self, name: str, x0: Tensor) -> None:
        """Raise unless `x0` is a tensor, and of the network's width if it is a matrix."""
        if not isinstance(x0, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(x0).__name__}")
        if x0.dim() == 2 and x0.shape[1] != self.dim:
            raise ValueError(f"{name} must have shape [N, {self.dim}], the network's dim; got {list(x0.shape)}")

    def forward_process(self, x0: Tensor, seed: int = 0, step: int | Tensor = 0, first: int = 0) -> Tensor:
        """x_0 ... x_T for data x0 [N, D]: [T+1, N, D].

        Args:
            x0: float32 (any floating dtype on the reference), finite.
            seed, step, first: place in the noise stream; `first` is the stream's index of row 0 (shards, blocks).
        """
        self.check_points("x0", x0)
        return forward_process(x0, self.schedule.betas, seed=seed, step=step, first=first, backend=self.backend)

    def loss(
        self,
        x0: Tensor,
        seed: int = 0,
        step: int | Tensor = 0,
        first: int = 0,
        closed_form: bool = False,
        draws: int | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """The variational bound in nats, divided by T + 1 (Ho 2020, Eq. 3): a scalar, differentiable in the weights.

        Times T + 1, it is never less on average than the entropy of the data plus KL(q(x_T) || N(0, 1)).

        Args:
            x0: data, [N, D] float32 (any floating dtype on the reference), finite.
            seed, step, first: place in the noise stream; `step` is the training iteration.
            closed_form: sum KL divergences (Eq. 5) instead of log-probabilities of samples: the same on average. Each
                term has less noise; in the sum of all T, that of Eq. 3 cancels.
            draws: how many of the T terms to draw for each row, an unbiased estimate; None is all, on one trajectory.
            condition: [N, C], for a network that is conditioned.
        """
        self.check_points("x0", x0)
        return variational_bound(
            self.network,
            x0,
            self.schedule.betas,
            seed=seed,
            step=step,
            first=first,
            closed_form=closed_form,
            draws=draws,
            condition=condition,
            backend=self._backend,
        )

    forward = loss  # what torch's DistributedDataParallel and other wrappers call

    def backward(
        self,
        x0: Tensor,
        seed: int = 0,
        step: int | Tensor = 0,
        first: int = 0,
        closed_form: bool = False,
        draws: int | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Return the loss, detached, and add its gradient to the `grad` of every parameter, as torch's backward does.

        The same as loss(...).backward(), but without autograd where the gradients come from a kernel anyway.
        """
        self.check_points("x0", x0)
        return accumulate_gradients(
            self.network,
            x0,
            self.schedule.betas,
            seed=seed,
            step=step,
            first=first,
            closed_form=closed_form,
            draws=draws,
            condition=condition,
            backend=self._backend,
        )

    def sample(
        self, count: int, seed: int = 0, first: int = 0, history: bool = False, condition: Tensor | None = None
    ) -> Tensor:
        """`count` samples, [count, D], or with `history` every state from x_T to x_0, [T+1, count, D].

        On one backend, device and number of threads a sample depends on (seed, its index) alone: sample(1000)[500:]
        equals sample(500, first=500) bit for bit (a network that is called must promise that too). first + count is at
        most 2^48. `condition` is [count, C], for a network that is conditioned.
        """
        return reverse_process(
            self.network,
            self.schedule.steps,
            count,
            seed=seed,
            first=first,
            history=history,
            condition=condition,
            backend=self._backend,
        )

"""The diffusion model: a network and a schedule, with the forward process, the bound and the reverse process."""

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

    Fused kernels compute a `GaussianMLP` with one hidden layer and relu, without shared layers, features and condition
    (on `triton` up to D = 8 and H = 64). On `native` they also compute other `GaussianMLP` networks up to some size,
    for samples and for drawn terms in closed form. Any other network, or a `GaussianMLP` that was changed (by a hook,
    for instance), is called in PyTorch, for a chunk of time steps or one time step at a time. `paths` says which of the
    two happens, and why.

    Args:
        network: a module that maps `x` [B, D] and `t` [B, 1], which is t / (T + 1), to the mean [B, D] and the standard
            deviation [B, D] of p(x_{t-1} | x_t). It has an int attribute `dim`, which is D, and computes each row
            independently of the others.
        schedule: the betas.
        backend: name of a backend (see `ddpm.backends`), or None for the best that the network and its device allow.

    Attributes:
        seed: seed of the last training.
        iteration: number of training iterations that are done.
        optimizer_state: AdamW's state by parameter name; None before training.
        kept: weights other than those of the network, by kind ("trained", "average", "best") and by parameter name.
        best_loss: loss of the "best" weights on the validation set; None if there are none.

    Raises:
        TypeError, ValueError: a bad argument.
        RuntimeError: the backend cannot run here.
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
        """Return what `state_dict` has besides weights, [T + 1] float64: the betas, then the iteration of training."""
        return torch.cat([self.schedule.betas.double(), torch.tensor([float(self.iteration)], dtype=torch.float64)])

    def set_extra_state(self, state: Tensor) -> None:
        """Set the iteration from the extra state of a Diffusion with the same schedule.

        Raises:
            ValueError: the state has another schedule.
        """
        *betas, iteration = state.tolist()
        if betas != self.schedule.betas.tolist():
            raise ValueError(f"the state has another schedule, T = {len(betas)}, than this diffusion: {self.schedule}")
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
        """Raise ValueError if a GaussianMLP is preconditioned for another schedule."""
        tables = getattr(self.network, "tables", None)
        if isinstance(self.network, GaussianMLP) and tables is not None:
            expected = torch.stack(tables_of(self.schedule)).to(tables)
            unit = 8 * torch.finfo(tables.dtype).eps  # another machine may round differently
            if tables.shape != expected.shape or not torch.allclose(tables, expected, rtol=unit, atol=unit):
                raise ValueError("network is preconditioned for another schedule than this one")

    def paths(self) -> dict[str, str]:
        """Return how the network is computed for each purpose.

        Returns:
            A dict whose keys are the purposes ("sample" and the kinds of loss). The value is "kernel" if a fused kernel
            computes the network. If the network is called in PyTorch instead, between kernels, the value is "called: "
            and the reason.
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
        """Check that `x0` is a tensor and, if it is a matrix, that its width is the network's `dim`.

        Raises:
            TypeError: `x0` is not a tensor.
            ValueError: `x0` has another width.
        """
        if not isinstance(x0, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(x0).__name__}")
        if x0.dim() == 2 and x0.shape[1] != self.dim:
            raise ValueError(f"{name} must have shape [N, {self.dim}], the network's dim; got {list(x0.shape)}")

    def forward_process(self, x0: Tensor, seed: int = 0, step: int | Tensor = 0, first: int = 0) -> Tensor:
        """Draw the trajectories x_0 ... x_T of the forward process (Ho 2020, Eq. 2).

        Args:
            x0: data, [N, D] float32 (any floating dtype on the backend `reference`), finite.
            seed: seed of the noise, 64 bits.
            step: iteration for which the noise is drawn, an int or a 0-d integer tensor on the device.
            first: index of row 0 in the noise stream, for data that is computed in parts.

        Returns:
            The trajectories, [T + 1, N, D], in the dtype and on the device of `x0`.
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
        """Compute the variational bound on the negative log-likelihood (Ho 2020, Eq. 3), differentiable in the weights.

        The bound is the mean over points and dimensions, divided by T + 1. Multiplied by D (T + 1), it is on average
        never less than the differential entropy of the data plus KL(q(x_T) || N(0, 1)).

        Args:
            x0: data, [N, D] float32 (any floating dtype on the backend `reference`), finite.
            seed: seed of the noise, 64 bits.
            step: training iteration for which the noise is drawn, an int or a 0-d integer tensor on the device.
            first: index of row 0 in the noise stream, for data that is computed in parts.
            closed_form: whether to sum KL divergences (Eq. 5) instead of log-probabilities of samples. Both are the
                same on average. Each KL divergence has less noise, but the noise of Eq. 3 cancels in the sum of all T.
            draws: number of the T terms to draw at random for each row, which gives an unbiased estimate; None for all
                terms, on one trajectory.
            condition: [N, C], for a network that is conditioned.

        Returns:
            The bound in nats, a 0-d tensor.

        Raises:
            TypeError, ValueError: a bad argument.
            RuntimeError: the backend cannot run here.
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

    forward = loss  # torch's DistributedDataParallel and other wrappers call `forward`

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
        """Compute the loss and add its gradient to the `grad` of every parameter, as torch's `backward` does.

        The arguments are those of `loss`, and the result is that of `loss(...).backward()`. If a kernel computes the
        gradients, autograd is not used.

        Returns:
            The loss, detached.
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
        """Draw samples by the reverse process.

        On one backend, device and number of threads, a sample depends only on the seed and its index:
        `sample(1000)[500:]` equals `sample(500, first=500)` bit for bit. A network that is called in PyTorch must
        itself compute a row in the same way in any batch.

        Args:
            count: number of samples.
            seed: seed of the noise, 64 bits.
            first: index of the first sample; `first + count` is at most 2^48.
            history: whether to return every state instead of only the last.
            condition: [count, C], for a network that is conditioned.

        Returns:
            The samples, [count, D], or with `history` every state from x_T to x_0, [T + 1, count, D].

        Raises:
            TypeError, ValueError: a bad argument.
            RuntimeError: the backend cannot run here.
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

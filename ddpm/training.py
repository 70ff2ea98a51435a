"""Training as in the tutorial: AdamW on all the data, a fresh trajectory at every step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from ddpm.cuda_graph import capture, on_side_stream, train_on_device
from ddpm.diffusion import Diffusion
from kernels import arguments, backends, networks
from kernels.autograd import accumulates_plainly
from kernels.training_step import AdamW, Steps, training_step


@dataclass(frozen=True)
class TrainingResult:
    """losses: [steps] float32 on the CPU, the bound in nats divided by T + 1, before each update."""

    losses: Tensor


def train(
    diffusion: Diffusion,
    x0: Tensor,
    steps: int = 1000,
    lr: float = 1e-2,
    weight_decay: float = 1e-6,
    seed: int = 0,
    progress: bool = True,
) -> TrainingResult:
    """Train the network in place.

    Training goes on where the model stands: two calls of 500 steps, with a save and a load between them or not,
    give the weights of one call of 1000, bit for bit (same data, seed and learning rate).

    Args:
        x0: data, [N, D], dtype and device of the network.
        steps: how many updates.
        lr, weight_decay: of AdamW.
        seed: of the noise; the forward process of iteration i draws step i of the stream.
        progress: show a progress bar with the loss, if standard error is a terminal.

    On a CPU, where the backend `native` holds the network, a step is one call that computes what torch's AdamW does: no
    hook of an optimizer is called, and `grad` is None afterwards.

    On CUDA, with a backend that can be recorded ("triton"), the steps are replayed from a CUDA graph. For a network
    that no kernel holds, let go of every loss that you computed before: what autograd keeps for it cannot be part of a
    graph.

    Raises:
        TypeError, ValueError: a bad argument.
        FloatingPointError: the loss is not finite; names the iteration. The weights stay as they were before it.
    """
    steps = arguments.integer("steps", steps, 0, 2**32 - 1)
    seed = arguments.integer("seed", seed, -(2**63), 2**64 - 1)
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative; got {value}")
    if any(p.is_inference() for p in diffusion.parameters()):
        raise ValueError("diffusion has parameters that were made in torch.inference_mode and cannot be trained")
    with torch.inference_mode(False), torch.enable_grad():  # whatever is around: what is made here is used again
        if isinstance(x0, Tensor) and x0.is_inference():
            x0 = x0.clone()
        return TrainingResult(_train(diffusion, x0, steps, lr, weight_decay, seed, progress))


def _train(
    diffusion: Diffusion, x0: Tensor, steps: int, lr: float, weight_decay: float, seed: int, progress: bool
) -> Tensor:
    on_device = isinstance(x0, Tensor) and x0.is_cuda
    names, parameters = [], []
    for name, parameter in diffusion.network.named_parameters():
        names.append(name)
        parameters.append(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True, capturable=on_device)
    if diffusion.optimizer_state is not None:
        kept = [diffusion.optimizer_state.get(name, {}) for name in names]
        # a parameter that was replaced by one of another shape begins anew
        fits = {i: state for i, state in enumerate(kept) if state and _fits(state, parameters[i])}
        optimizer.load_state_dict({"state": fits, "param_groups": optimizer.state_dict()["param_groups"]})

    diffusion.seed = seed
    try:
        # disable=None: silent unless standard error is a terminal
        with tqdm(total=steps, desc="train", unit="step", disable=None if progress else True) as bar:
            if not on_device:
                return _train_on_host(diffusion, optimizer, x0, steps, seed, bar)
            arguments.finite("x0", x0)
            # a backend that waits for the device within a call cannot be part of a graph
            in_graphs = backends.get(diffusion.backend).in_cuda_graphs
            with on_side_stream(x0.device):
                record = capture if in_graphs else (lambda step: step)
                return train_on_device(diffusion, optimizer, x0, steps, seed, bar, record)
    finally:
        diffusion.optimizer_state = {names[i]: state for i, state in optimizer.state_dict()["state"].items()}


def _fits(state: dict[str, Tensor], parameter: Tensor) -> bool:
    """Whether AdamW's state has the shape of a parameter."""
    return all(value.shape == parameter.shape for key, value in state.items() if key != "step")


def _train_on_host(
    diffusion: Diffusion, optimizer: torch.optim.Optimizer, x0: Tensor, steps: int, seed: int, bar: tqdm
) -> Tensor:
    def in_torch(iteration: int) -> float:
        optimizer.zero_grad()
        value = diffusion.backward(x0, seed=seed, step=iteration).item()
        if math.isfinite(value):
            optimizer.step()
        return value

    prepared, begin = _in_one_call(diffusion, optimizer, x0, seed), diffusion.iteration
    step = in_torch if prepared is None else prepared.run
    losses: list[float] = []
    try:
        for _ in range(steps):
            value = step(arguments.integer("iteration", diffusion.iteration, 0, 2**32 - 1))
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value} at iteration {diffusion.iteration}")
            losses.append(value)
            diffusion.iteration += 1
            bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
            bar.update()
    finally:
        if prepared is not None:  # an interrupt may have come between an update and its count here
            diffusion.iteration = begin + prepared.updates()
    return torch.tensor(losses, dtype=torch.float32, device="cpu")


def _in_one_call(diffusion: Diffusion, optimizer: torch.optim.Optimizer, x0: Tensor, seed: int) -> Steps | None:
    """The backend's own training step, where it has one and holds the network, which it then sees only now."""
    pair, backend = networks.describe(diffusion.network), backends.get(diffusion.backend)
    (group,) = optimizer.param_groups
    if not backend.has("training_step") or not backend.holds(pair, "variational_bound"):
        return None
    if {id(p) for p in group["params"]} != {id(p) for p in pair.tensors} or len(pair.tensors) != len(group["params"]):
        return None
    for p in pair.tensors:
        if not accumulates_plainly(p):
            return None
        state = optimizer.state[p]  # as torch makes it at the first step
        if not state:
            state |= {
                "step": torch.zeros((), dtype=torch.float32, device=p.device),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        state["exp_avg"], state["exp_avg_sq"] = (state[key].contiguous() for key in ("exp_avg", "exp_avg_sq"))
    optimizer.zero_grad()
    first, second, taken = (
        [optimizer.state[p][key] for p in pair.tensors] for key in ("exp_avg", "exp_avg_sq", "step")
    )
    adamw = AdamW(first, second, taken, group["lr"], group["weight_decay"], group["betas"], group["eps"])
    return training_step(pair, x0, diffusion.schedule.betas, adamw, seed=seed, backend=backend.name)

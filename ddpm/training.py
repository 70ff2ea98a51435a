"""Training as in the tutorial: AdamW on all the data, a fresh trajectory at every step."""

import math
from collections.abc import Callable
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
    diffusion.seed = seed
    # disable=None: silent unless standard error is a terminal
    with tqdm(total=steps, desc="train", unit="step", disable=None if progress else True) as bar:
        if (prepared := _in_one_call(diffusion, x0, lr, weight_decay, seed)) is not None:
            return _train_in_one_call(diffusion, *prepared, steps, bar)
        return _train_in_torch(diffusion, x0, steps, lr, weight_decay, seed, bar)


def _train_in_torch(
    diffusion: Diffusion, x0: Tensor, steps: int, lr: float, weight_decay: float, seed: int, bar: tqdm
) -> Tensor:
    on_device = isinstance(x0, Tensor) and x0.is_cuda
    names, parameters = [], []
    for name, parameter in diffusion.network.named_parameters():
        names.append(name)
        parameters.append(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True, capturable=on_device)
    if diffusion.optimizer_state is not None:
        kept = {i: _kept_state(diffusion, name, parameters[i]) for i, name in enumerate(names)}
        fits = {i: state for i, state in kept.items() if state}
        optimizer.load_state_dict({"state": fits, "param_groups": optimizer.state_dict()["param_groups"]})

    def step(iteration: int) -> float:
        optimizer.zero_grad()
        value = diffusion.backward(x0, seed=seed, step=iteration).item()
        if math.isfinite(value):
            optimizer.step()
        return value

    try:
        if not on_device:
            return _train_on_host(diffusion, step, steps, bar)
        arguments.finite("x0", x0)
        # a backend that waits for the device within a call cannot be part of a graph
        in_graphs = backends.get(diffusion.backend).in_cuda_graphs
        with on_side_stream(x0.device):
            record = capture if in_graphs else (lambda step: step)
            return train_on_device(diffusion, optimizer, x0, steps, seed, bar, record)
    finally:
        diffusion.optimizer_state = {names[i]: state for i, state in optimizer.state_dict()["state"].items()}


def _kept_state(diffusion: Diffusion, name: str, parameter: Tensor) -> dict[str, Tensor]:
    """AdamW's state of a parameter from earlier training; empty if there is none, or it is of another shape's."""
    state = (diffusion.optimizer_state or {}).get(name, {})
    fits = all(value.shape == parameter.shape for key, value in state.items() if key != "step")
    return state if fits else {}


def _train_on_host(diffusion: Diffusion, step: Callable[[int], float], steps: int, bar: tqdm) -> Tensor:
    losses: list[float] = []
    for _ in range(steps):
        value = step(arguments.integer("iteration", diffusion.iteration, 0, 2**32 - 1))
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at iteration {diffusion.iteration}")
        losses.append(value)
        diffusion.iteration += 1
        bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
        bar.update()
    return torch.tensor(losses, dtype=torch.float32, device="cpu")


def _train_in_one_call(
    diffusion: Diffusion, prepared: Steps, state: dict[str, dict[str, Tensor]], steps: int, bar: tqdm
) -> Tensor:
    begin = diffusion.iteration
    try:
        return _train_on_host(diffusion, prepared.run, steps, bar)
    finally:  # an interrupt may have come between an update and its count
        diffusion.iteration = begin + prepared.updates()
        if prepared.updates() > 0:
            diffusion.optimizer_state = state
        elif diffusion.optimizer_state is None:
            diffusion.optimizer_state = {}


def _in_one_call(
    diffusion: Diffusion, x0: Tensor, lr: float, weight_decay: float, seed: int
) -> tuple[Steps, dict[str, dict[str, Tensor]]] | None:
    """The backend's own training step, where it has one and holds the network, and the state that it updates.

    The network is looked at only now. An optimizer of torch's is not made: its first one imports torch's compiler,
    which takes a second.
    """
    pair, backend = networks.describe(diffusion.network), backends.get(diffusion.backend)
    if not backend.has("training_step") or not backend.holds(pair, "variational_bound"):
        return None
    names = {id(p): name for name, p in diffusion.network.named_parameters()}
    if names.keys() != {id(p) for p in pair.tensors} or len(pair.tensors) != len(names):
        return None
    if not all(map(accumulates_plainly, pair.tensors)):
        return None
    state = {}
    for p in pair.tensors:
        name = names[id(p)]
        if kept := _kept_state(diffusion, name, p):
            state[name] = {key: value.clone(memory_format=torch.contiguous_format) for key, value in kept.items()}
        else:
            zero = torch.zeros((), dtype=torch.float32, device=p.device)
            state[name] = {"step": zero, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    each = [state[names[id(p)]] for p in pair.tensors]
    first, second, taken = ([of[key] for of in each] for key in ("exp_avg", "exp_avg_sq", "step"))
    adamw = AdamW(first, second, taken, lr, weight_decay)
    steps = training_step(pair, x0, diffusion.schedule.betas, adamw, seed=seed, backend=backend.name)
    for p in pair.tensors:
        p.grad = None
    return steps, {name: state[name] for name in names.values()}

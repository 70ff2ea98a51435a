"""The reverse process of a network: x_0, or all states from x_T to x_0 (Ho 2020, Eq. 1)."""

import torch
from torch import Tensor

from kernels import arguments, backends, networks
from kernels.modes import arithmetic
from kernels.networks import Called, MLPPair, Network
from kernels.operators import PAIR, PLACE, operator
from kernels.place import MOST_SAMPLES, MOST_STEPS, Place
from kernels.reverse_process import unfused


def reverse_process(
    network: Network,
    steps: int,
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    history: bool = False,
    condition: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Draw samples from a network. x_T and the noise of every step come from the noise stream.

    Args:
        network: as in kernels.variational_bound, with an int attribute `dim`. Samples are computed on the device and
            in the dtype of its parameters.
        steps: T, the number of time steps.
        count: the number of samples.
        seed, first: the place in the noise stream. `first` is the index of the first sample in the stream.
        history: whether to return all states instead of x_0 alone.
        condition: [count, C], for a network that is conditioned.
        backend: a name, or None for the best that the network, its dtype and its device allow.

    Returns:
        x_0 [count, D], or with `history` x_T ... x_0 [T+1, count, D]. If the backend's kernel holds the network, then
        on one backend, device and number of threads a sample's bits depend only on the seed and the sample's index.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is not valid, or the backend is not available.
    """
    pair, place = networks.describe(network), Place(seed, 0, first)
    known = pair or networks.called(network)
    chosen = backends.choose(backend, known.device.type, known.dtype)
    chosen.check_dtype("network", known.dtype)
    if pair is not None:
        pair.check_steps(steps)
    if chosen.holds(pair, "reverse_process"):
        return samples(pair, steps, count, place, history, condition, chosen.name)
    steps, count, place = _checked(steps, count, place, known.device)
    called = (known if isinstance(known, Called) else networks.called(network)).given(condition, count)
    with torch.no_grad():
        if chosen.by_autograd:
            return chosen.implementation("reverse_process").reverse_process(called, steps, count, place, history)
        return unfused.reverse_process(called, steps, count, place, history, chosen.name)


def _checked(steps: int, count: int, place: Place, device: torch.device) -> tuple[int, int, Place]:
    steps = arguments.integer("steps", steps, 1, MOST_STEPS)
    count = arguments.integer("count", count, 0, MOST_SAMPLES)
    return steps, count, place.checked(count, device)


def _like_samples(
    pair: MLPPair, steps: int, count: int, place: Place, history: bool, condition: Tensor | None, backend: str
) -> Tensor:
    shape = (count, pair.dim)
    return pair.tensors[0].new_empty((steps + 1, *shape) if history else shape)


@operator(f"{PAIR}, int steps, SymInt count, {PLACE}, bool history, Tensor? condition, str backend", _like_samples)
def samples(
    pair: MLPPair, steps: int, count: int, place: Place, history: bool, condition: Tensor | None, backend: str
) -> Tensor:
    """Compute reverse_process for a pair that the backend's kernel holds."""
    steps, count, place = _checked(steps, count, place, pair.device)
    networks.check_condition(pair.condition_dim, condition, count)
    conditions = () if condition is None else (condition.detach().float().resolve_neg().contiguous(),)
    implementation = backends.get(backend).implementation("reverse_process")
    with arithmetic(pair.device.type):
        return implementation.reverse_process(pair, steps, count, place, history, *conditions)

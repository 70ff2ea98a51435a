"""JAX, jitted: noise and bound of all steps in one batch. Only the chains themselves are scans, which is fastest.

A product with a [T, T] matrix or a cumulative sum instead of the chain's scan takes 1.3 or 2.3 times as long.
`source` is a key, from which noise is drawn, or the noise itself. Samples are the last axis, [..., D, N]: with the
single dimension last, XLA's loops are 3 times slower.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from benchmarks.cases import Case
from benchmarks.problem import LR, WEIGHT_DECAY, Problem, Work, too_much_for_autograd

with contextlib.suppress(ImportError):
    import jax
    import jax.numpy as jnp
    import optax

    ADAMW = optax.adamw(LR, weight_decay=WEIGHT_DECAY)

PACKAGES, STYLE = ("jax", "optax"), ("#3f9c73", "X")
FEW = 8  # up to this D * H, units are written out: faster than a product of narrow matrices


def gap(case: Case, size: str) -> str | None:
    if case.device == "cuda" and jax.default_backend() != "gpu":
        return "JAX finds no GPU"
    return too_much_for_autograd(case)


Array: TypeAlias = "jax.Array"
Networks = tuple[list[Array], list[Array]]  # W1, b1, W2, b2 of the mean network and of the std network
Loss = Callable[[Networks, Array, Array], Array]


def array(p: Problem, tensor: torch.Tensor) -> Array:
    """Return a tensor as an array on the device of the case."""
    return jax.device_put(tensor.cpu().numpy().copy(), jax.devices("gpu" if p.case.device == "cuda" else "cpu")[0])


def points(p: Problem, tensor: torch.Tensor) -> Array:
    """Return points [..., N, D] with the samples last, [..., D, N]."""
    return array(p, tensor.transpose(-1, -2))


def networks_of(p: Problem) -> Networks:
    arrays = [array(p, w) for w in p.weights]
    return arrays[:4], arrays[4:]


def keyed(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Return a call of the jitted `function(*arguments, key)` with a new key each time, which waits for the result."""
    jitted = jax.jit(lambda call, *arguments: function(*arguments, jax.random.fold_in(jax.random.key(0), call)))
    calls = itertools.count()
    return lambda: jax.block_until_ready(jitted(np.uint32(next(calls)), *arguments))


def is_key(source: Array) -> bool:
    return jnp.issubdtype(source.dtype, jax.dtypes.prng_key)


def normals(p: Problem, source: Array) -> Array:
    """Return the noise, [T, D, N]."""
    return jax.random.normal(source, (p.case.T, p.case.D, p.case.N)) if is_key(source) else source


def times(p: Problem) -> Array:
    return (jnp.arange(1, p.case.T + 1) / (p.case.T + 1)).astype(jnp.float32)[:, None, None]


def apply(network: list[Array], x: Array, t: Array) -> Array:
    """Return a network's outputs at x [..., D, N] and times t that broadcast to [..., 1, 1]."""
    w1, b1, w2, b2 = network
    dim = x.shape[-2]
    if dim * len(b1) > FEW:
        h = jax.nn.relu(jnp.einsum("hd,...dn->...hn", w1[:, :dim], x) + t * w1[:, dim:] + b1[:, None])
        return jnp.einsum("dh,...hn->...dn", w2, h) + b2[:, None]
    out = list(b2)
    for j in range(len(b1)):
        z = sum((x[..., d, :] * w1[j, d] for d in range(dim)), t[..., 0] * w1[j, dim] + b1[j])
        out = [out[d] + jax.nn.relu(z) * w2[d, j] for d in range(dim)]
    return jnp.stack(out, -2)


def forward(p: Problem, x: Array, eps: Array) -> Array:
    """Return x_t from x_{t-1}."""
    return math.sqrt(1 - p.beta) * x + math.sqrt(p.beta) * eps


def backward(networks: Networks, x: Array, eps: Array, t: Array) -> Array:
    """Return x_{t-1} from x_t."""
    return apply(networks[0], x, t) + jax.nn.softplus(apply(networks[1], x, t)) * eps


def term(networks: Networks, previous: Array, x: Array, eps: Array, t: Array) -> Array:
    """Return the sum of the terms of the bound."""
    std = jax.nn.softplus(apply(networks[1], x, t))
    z = (previous - apply(networks[0], x, t)) / std
    return (0.5 * z * z + jnp.log(std) - 0.5 * eps * eps).sum()


def scaled(p: Problem, terms: Array, last: Array) -> Array:
    """Return the bound from the sum of all terms and x_T."""
    constant = 0.5 * math.log(2 * math.pi) - 0.5 * p.case.T * math.log(p.beta)
    return ((terms + 0.5 * (last * last).sum()) / last.size + constant) / (p.case.T + 1)


def trajectory(p: Problem, x0: Array, eps: Array) -> Array:
    """Return x_0 ... x_T."""
    x = jax.lax.scan(lambda x, e: (forward(p, x, e),) * 2, x0, eps)[1]
    return jnp.concatenate((x0[None], x))


def loss_of(p: Problem) -> Loss:
    def loss(networks: Networks, x0: Array, source: Array) -> Array:
        eps = normals(p, source)
        x = trajectory(p, x0, eps)
        return scaled(p, term(networks, x[:-1], x[1:], eps, times(p)), x[-1])

    return loss


def differentiated(p: Problem, loss: Loss) -> Work:
    """Return the work that computes the loss and every gradient."""
    arguments, both = (networks_of(p), points(p, p.x0)), jax.value_and_grad(loss)

    def result(eps: torch.Tensor) -> list[np.ndarray]:
        value, gradients = jax.jit(both)(*arguments, points(p, eps))
        return [np.array(value).reshape(1), *map(np.array, jax.tree.leaves(gradients))]

    return Work(keyed(both, *arguments), result)


def update(loss: Loss, networks: Networks, state: Any, x0: Array, source: Array) -> tuple[Networks, Any, Array]:
    """Return the networks and AdamW's state after a step, and the loss before it."""
    value, gradients = jax.value_and_grad(loss)(networks, x0, source)
    updates, state = ADAMW.update(gradients, state, networks)
    return optax.apply_updates(networks, updates), state, value


def stepped(p: Problem, loss: Loss) -> Work:
    """Return the work that computes the weights after a step of AdamW."""
    networks = networks_of(p)
    arguments, step = (networks, ADAMW.init(networks), points(p, p.x0)), functools.partial(update, loss)

    def result(eps: torch.Tensor) -> list[np.ndarray]:
        return list(map(np.array, jax.tree.leaves(jax.jit(step)(*arguments, points(p, eps))[0])))

    return Work(keyed(step, *arguments), result)


def noise(p: Problem) -> Work:
    return Work(keyed(lambda _, key: normals(p, key), array(p, torch.zeros(1))), None)


def forward_process(p: Problem) -> Work:
    x0 = points(p, p.x0)
    run = keyed(lambda x0, key: trajectory(p, x0, normals(p, key)), x0)
    return Work(run, lambda eps: [np.array(trajectory(p, x0, points(p, eps))).swapaxes(1, 2)])


def variational_bound(p: Problem) -> Work:
    return differentiated(p, loss_of(p))


def training_step(p: Problem) -> Work:
    return stepped(p, loss_of(p))


def samples(p: Problem, networks: Networks, x: Array, eps: Array) -> Array:
    """Return x_0 from x_T."""
    return jax.lax.scan(lambda x, e: (backward(networks, x, *e), None), x, (eps, times(p)), reverse=True)[0]


def draw(p: Problem, networks: Networks, key: Array) -> Array:
    """Return x_0 from noise."""
    eps = jax.random.normal(key, (p.case.T + 1, p.case.D, p.case.N))
    return samples(p, networks, eps[-1], eps[:-1])


def reverse_process(p: Problem) -> Work:
    networks = networks_of(p)
    run = keyed(functools.partial(draw, p), networks)
    return Work(run, lambda x, eps: [np.array(samples(p, networks, points(p, x), points(p, eps))).T])


def train_and_sample(p: Problem, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of training, which is one scan, and samples."""

    def train(networks: Networks, x0: Array, key: Array) -> tuple[Networks, Array]:
        def step(state: tuple[Networks, Any], i: Array) -> tuple[tuple[Networks, Any], Array]:
            networks, optimizer, value = update(loss_of(p), *state, x0, jax.random.fold_in(key, i))
            return (networks, optimizer), value

        (networks, _), losses = jax.lax.scan(step, (networks, ADAMW.init(networks)), jnp.arange(iterations))
        return networks, losses

    networks, losses = keyed(train, networks_of(p), points(p, p.x0))()
    return np.array(losses), np.array(keyed(functools.partial(draw, p), networks)()).T

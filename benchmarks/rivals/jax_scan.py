"""JAX, jitted: one lax.scan over time draws the noise of a step, does the step and adds up the bound.

No noise is kept.
"""

import contextlib
import functools

import numpy as np

from benchmarks.problem import Problem, Work
from benchmarks.rivals import jax_batch
from benchmarks.rivals.jax_batch import PACKAGES, Array, Loss, Networks, gap

with contextlib.suppress(ImportError):
    import jax
    import jax.numpy as jnp

__all__ = ["PACKAGES", "STYLE", "gap"]
STYLE = ("#8cc9a8", "<")


def step_noise(p: Problem, source: Array, i: Array) -> Array:
    """Return the noise of step i, counted from 0, [D, N]."""
    if jax_batch.is_key(source):
        return jax.random.normal(jax.random.fold_in(source, i), (p.case.D, p.case.N))
    return source[i]


def time(p: Problem, i: Array) -> Array:
    return ((i + 1) / (p.case.T + 1))[None, None]


def loss_of(p: Problem) -> Loss:
    def loss(networks: Networks, x0: Array, source: Array) -> Array:
        def step(state: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
            previous, total = state
            eps = step_noise(p, source, i)
            x = jax_batch.forward(p, previous, eps)
            return (x, total + jax_batch.term(networks, previous, x, eps, time(p, i))), None

        (x, total), _ = jax.lax.scan(step, (x0, jnp.zeros(())), jnp.arange(p.case.T))
        return jax_batch.scaled(p, total, x)

    return loss


def variational_bound(p: Problem) -> Work:
    return jax_batch.differentiated(p, loss_of(p))


def training_step(p: Problem) -> Work:
    return jax_batch.stepped(p, loss_of(p))


def reverse_process(p: Problem) -> Work:
    networks = jax_batch.networks_of(p)

    def samples(networks: Networks, x: Array, source: Array) -> Array:
        def step(x: Array, i: Array) -> tuple[Array, None]:
            return jax_batch.backward(networks, x, step_noise(p, source, i), time(p, i)), None

        return jax.lax.scan(step, x, jnp.arange(p.case.T), reverse=True)[0]

    def draw(networks: Networks, key: Array) -> Array:
        terminal, key = jax.random.split(key)
        return samples(networks, jax.random.normal(terminal, (p.case.D, p.case.N)), key)

    points = functools.partial(jax_batch.points, p)
    run = jax_batch.keyed(draw, networks)
    return Work(run, lambda x, eps: [np.array(samples(networks, points(x), points(eps))).T])

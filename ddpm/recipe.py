"""How a network is trained: the arguments of ddpm.train, checked."""

import math
from dataclasses import dataclass

from kernels import arguments
from kernels.variational_bound.drawn import MOST_DRAWS


@dataclass(frozen=True)
class Recipe:
    """The arguments of `train` that say how to train, checked."""

    lr: float
    weight_decay: float
    seed: int
    batch_size: int | None
    draws: int | None
    closed_form: bool
    warmup_steps: int
    cosine_steps: int | None
    max_grad_norm: float | None
    ema_decay: float | None
    validate_every: int
    shards: int | None = None

    def __post_init__(self) -> None:
        arguments.integer("seed", self.seed, -(2**63), 2**64 - 1)
        arguments.integer("warmup_steps", self.warmup_steps, 0, 2**32 - 1)
        arguments.integer("validate_every", self.validate_every, 1, 2**32 - 1)
        limits = {"batch_size": 2**32 - 1, "draws": MOST_DRAWS, "cosine_steps": 2**32 - 1, "shards": 2**20}
        for name, most in limits.items():
            if (value := getattr(self, name)) is not None:
                arguments.integer(name, value, 1, most)
        for name in ("lr", "weight_decay"):
            arguments.number(name, getattr(self, name), 0)
        if self.max_grad_norm is not None:
            arguments.number("max_grad_norm", self.max_grad_norm, 0)
        if self.ema_decay is not None:
            arguments.number("ema_decay", self.ema_decay, 0, 1)

    @property
    def is_the_tutorials(self) -> bool:
        """Whether every iteration uses all of the data and AdamW with one learning rate, as the tutorial does."""
        options = (self.batch_size, self.draws, self.cosine_steps, self.max_grad_norm, self.ema_decay)
        return (*options, self.shards) == (None,) * 6 and self.warmup_steps == 0

    def learning_rate(self, iteration: int) -> float:
        """Return the learning rate of an iteration: a linear rise times half a cosine to 0 (Loshchilov 2017, Eq. 5)."""
        rise = min(1.0, (iteration + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        done = min(1.0, iteration / self.cosine_steps) if self.cosine_steps else 0.0
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * done))

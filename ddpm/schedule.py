"""The betas of the forward process."""

import math

import torch
from torch import Tensor

from kernels import arguments, schedules
from kernels.place import MOST_STEPS


class Schedule:
    """The variances beta_1 ... beta_T of q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t) (Ho 2020, Eq. 2).

    Args:
        betas: [T], of a floating dtype, each in (0, 1), with T from 1 to 2^18.

    Attributes:
        betas: [T] float64 on the CPU. Do not change it in place: kernels cache values that they compute from it.

    Raises:
        TypeError, ValueError: bad betas.
    """

    def __init__(self, betas: Tensor) -> None:
        schedules.check_betas(betas)
        self.betas = betas.detach().double().cpu().clone()

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return len(self.betas)

    @property
    def alpha_bar(self) -> Tensor:
        """The products of 1 - beta from 1 to t, [T] float64.

        Each is the share of the data in the variance of x_t, for data of variance 1.
        """
        return schedules.alpha_bars(self.betas)

    def __repr__(self) -> str:
        return f"Schedule(steps={self.steps}, betas from {self.betas.min():.3g} to {self.betas.max():.3g})"

    @classmethod
    def from_betas(cls, betas: Tensor) -> "Schedule":
        """Return a schedule of any betas.

        Args:
            betas: [T], of a floating dtype, each in (0, 1), with T from 1 to 2^18.

        Raises:
            TypeError, ValueError: bad betas.
        """
        return cls(betas)

    @classmethod
    def constant(cls, steps: int, beta: float) -> "Schedule":
        """Return the tutorial's schedule: the same beta at every step.

        Args:
            steps: T, from 1 to 2^18.
            beta: in (0, 1).

        Raises:
            TypeError, ValueError: a bad argument.
        """
        return cls.linear(steps, beta, beta)

    @classmethod
    def linear(cls, steps: int, beta_start: float, beta_end: float) -> "Schedule":
        """Return a schedule of evenly spaced betas (Ho 2020, section 4).

        Args:
            steps: T, from 1 to 2^18.
            beta_start: beta_1, in (0, 1).
            beta_end: beta_T, in (0, 1).

        Raises:
            TypeError, ValueError: a bad argument.
        """
        steps = arguments.integer("steps", steps, 1, MOST_STEPS)
        for name, beta in (("beta_start", beta_start), ("beta_end", beta_end)):
            if not 0 < beta < 1:
                raise ValueError(f"{name} must lie in (0, 1); got {beta}")
        return cls(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, steps: int) -> "Schedule":
        """Return the cosine schedule (Nichol and Dhariwal 2021, Eq. 17), with offset 0.008 and betas of at most 0.999.

        Args:
            steps: T, from 1 to 2^18.

        Raises:
            TypeError, ValueError: a bad argument.
        """
        steps = arguments.integer("steps", steps, 1, MOST_STEPS)
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha_bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999))

    @classmethod
    def log_snr(cls, steps: int, log_snr_start: float = 9.0, log_snr_end: float = -6.0) -> "Schedule":
        """Return a schedule whose log-SNR is evenly spaced from t = 1 to T (Kingma 2021, section 3.2).

        The log-SNR is log(alpha_bar_t / (1 - alpha_bar_t)). By default, the noise at t = 1 has 0.011 of the standard
        deviation of the data, and 0.05 of the data is left at t = T.

        Args:
            steps: T, from 1 to 2^18.
            log_snr_start: the log-SNR at t = 1, above `log_snr_end`.
            log_snr_end: the log-SNR at t = T.

        Raises:
            TypeError, ValueError: a bad argument.
        """
        steps = arguments.integer("steps", steps, 1, MOST_STEPS)
        for name, value in (("log_snr_start", log_snr_start), ("log_snr_end", log_snr_end)):
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite; got {value}")
        if steps > 1 and not log_snr_start > log_snr_end:
            raise ValueError(f"log_snr_start must be above log_snr_end; got {log_snr_start} and {log_snr_end}")
        alpha_bar = torch.sigmoid(torch.linspace(log_snr_start, log_snr_end, steps, dtype=torch.float64))
        before = torch.cat((torch.ones(1, dtype=torch.float64), alpha_bar[:-1]))
        return cls((before - alpha_bar) / before)

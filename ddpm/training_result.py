"""The result of training."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TrainingResult:
    """The losses of training.

    Attributes:
        losses: [steps] float32 on the CPU, the bound in nats divided by T + 1, before each update.
        validation_losses: iteration -> the same of the validation set, after that many updates.
    """

    losses: Tensor
    validation_losses: dict[int, float]

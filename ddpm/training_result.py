"""The result of training."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TrainingResult:
    """The losses of training.

    Attributes:
        losses: [steps] float32 on the CPU: the bound before the update of each iteration, as `Diffusion.loss`
            returns it. Multiplied by D (T + 1), it is in nats for each row.
        validation_losses: the same bound on the validation set, as a dict whose keys are numbers of iterations done.
    """

    losses: Tensor
    validation_losses: dict[int, float]

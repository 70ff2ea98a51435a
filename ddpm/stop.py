"""Whether training is to pause after an iteration, to keep a checkpoint or because of a signal."""

import time
from enum import IntEnum

from ddpm.interrupts import Interrupts


class Wish(IntEnum):
    """Of one process; where several differ, the greatest counts."""

    GO_ON, SAVE, END = 0, 1, 2


class Stop:
    """Tells when to pause.

    Attributes:
        deadline: of time.monotonic, after which it is time to save; None is never.
        agreed: the wish of all ranks at the last iteration; None where this process is alone.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self.interrupts = interrupts
        self.deadline: float | None = None
        self.agreed: Wish | None = None

    def wanted(self) -> Wish:
        """Return the wish of this process."""
        if self.interrupts.first is not None:
            return Wish.END
        due = self.deadline is not None and time.monotonic() >= self.deadline
        return Wish.SAVE if due else Wish.GO_ON

    def wish(self) -> Wish:
        """Return the wish of all."""
        return self.wanted() if self.agreed is None else self.agreed

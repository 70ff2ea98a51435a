"""Whether training pauses after an iteration, to save a checkpoint or because of a signal."""

import time
from enum import IntEnum

from ddpm.interrupts import Interrupts


class Wish(IntEnum):
    """The wish of a process after an iteration. If processes differ, the greatest wish counts."""

    GO_ON, SAVE, END = 0, 1, 2


class Stop:
    """Tells training when to pause.

    Attributes:
        deadline: the time, by time.monotonic, at which a checkpoint is due; None is never.
        agreed: the wish of all ranks at the last iteration; None if this process is alone.
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
        """Return the wish of all processes."""
        return self.wanted() if self.agreed is None else self.agreed

"""Progress bars, for people: on a terminal, and nowhere else."""

import sys
import threading
from typing import Any

from tqdm import tqdm


class Bar(tqdm):
    """A bar that needs no other process and no thread.

    tqdm's own lock is shared by all that were forked from one process: one that is killed would keep it for ever.
    """

    monitor_interval = 0
    _lock = threading.RLock()

    def skip(self, count: int) -> None:
        """Count what was done before, which says nothing of the speed."""
        if not self.disable:
            self.initial += count
        self.update(count)


def progress_bar(total: int, what: str, unit: str, shown: bool = True, done: int = 0) -> Any:
    """Return a bar of tqdm's on standard error; a silent one where that is no terminal, closed or missing.

    Args:
        total: when it is full.
        what: is going on.
        unit: of what is counted.
        shown: False is silent everywhere.
        done: what was done before, which says nothing of the speed.
    """
    stream = sys.stderr
    terminal = stream is not None and not stream.closed and stream.isatty()
    disable = not (shown and terminal)
    look = {"unit": unit, "unit_scale": total >= 100_000}
    return Bar(total=total, desc=what, **look, disable=disable, initial=done, miniters=1)

"""Progress bars, shown only on a terminal."""

import sys
import threading
from typing import Any

from tqdm import tqdm


class Bar(tqdm):
    """A bar that needs no other process and no thread.

    tqdm's own lock is shared by all processes that were forked from one. If one of them is killed while it holds the
    lock, the others wait forever.
    """

    monitor_interval = 0
    _lock = threading.RLock()

    def skip(self, count: int) -> None:
        """Advance the bar by what was done before, which does not count for the speed."""
        if not self.disable:
            self.initial += count
        self.update(count)


def progress_bar(total: int, what: str, unit: str, shown: bool = True, done: int = 0) -> Any:
    """Return a tqdm bar on standard error. It is silent if standard error is not a terminal, is closed or is missing.

    Args:
        total: the count at which the bar is full.
        what: the label of the bar.
        unit: the name of the unit that is counted.
        shown: False for a bar that is always silent.
        done: the count of what was done before, which does not count for the speed.
    """
    stream = sys.stderr
    terminal = stream is not None and not stream.closed and stream.isatty()
    disable = not (shown and terminal)
    look = {"unit": unit, "unit_scale": total >= 100_000}
    return Bar(total=total, desc=what, **look, disable=disable, initial=done, miniters=1)

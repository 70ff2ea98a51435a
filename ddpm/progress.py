"""Progress bars, for people: on a terminal, and nowhere else."""

import sys
from typing import Any

from tqdm import tqdm


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
    return tqdm(total=total, desc=what, unit=unit, unit_scale=total >= 100_000, disable=disable, initial=done)

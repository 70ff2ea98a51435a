"""Progress bars, for people: on a terminal, and nowhere else."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int, what: str, unit: str, shown: bool = True) -> Any:
    """Return a bar of tqdm's on standard error; a silent one where that is no terminal, closed or missing.

    Args:
        total: when it is full.
        what: is going on.
        unit: of what is counted.
        shown: False is silent everywhere.
    """
    stream = sys.stderr
    terminal = stream is not None and not stream.closed and stream.isatty()
    return tqdm(total=total, desc=what, unit=unit, unit_scale=total >= 100_000, disable=not (shown and terminal))

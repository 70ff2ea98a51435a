"""The memory that the system has left."""

import re
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def available() -> int | None:
    """Return how many bytes can be allocated before the system swaps; None if it does not say."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])

"""Measure the time of one epoch of a million rows, and the peak memory of the separate process that runs it."""

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

ROWS, COLUMNS, BATCH = 1_000_000, 8, 512


def measure(model: str, rows: int = ROWS) -> dict[str, Any]:
    """Fit `ours` or `plain` for one epoch, in a new process."""
    command = [sys.executable, "-m", "benchmarks.quality.epoch", model, str(rows)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _fit(model: str, rows: int) -> None:
    import ddpm
    from benchmarks.quality import plain
    from benchmarks.quality.data import Split

    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, COLUMNS)) @ generator.standard_normal((COLUMNS, COLUMNS))
    x += 3 * generator.standard_normal((5, COLUMNS))[generator.integers(5, size=rows)]
    steps = -(-rows // BATCH)
    started = time.perf_counter()
    if model == "ours":
        ddpm.DDPM(random_state=0, steps=steps, batch_size=BATCH).fit(x)
    else:
        plain.Plain(Split(x, x), 0, steps)
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"model": model, "rows": rows, "steps": steps, "seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    _fit(sys.argv[1], int(sys.argv[2]))

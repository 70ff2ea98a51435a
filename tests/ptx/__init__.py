"""A machine that runs the PTX of Triton's kernels on CPU tensors (see docs/ptx.md)."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

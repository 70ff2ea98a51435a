"""Operations and bytes that a kernel of ours cannot do without; with a ceiling, the shortest time it could take.

Counted as benchmarks.ceiling counts: a multiply-add is one operation. For `compiled` from the expressions in the
kernels, as their docstrings say; for `triton` in the machine code. Bytes are those of inputs and outputs: what a kernel
writes and reads again in between is its own affair.
"""

from typing import Any

import torch

from benchmarks.cases import Case
from kernels.tiles import is_small

NOISE = 88  # operations for a normal
WALK = 2  # for x_t from x_{t-1}


def of(case: Case, name: str) -> dict[str, Any]:
    """{"operations": in all, "bytes": in all}, or nothing for those whose kernels are not ours."""
    pairs = case.N * case.T  # (sample, step)
    if name == "compiled":
        operations = pairs * on_a_lane(case)
    elif name == "triton":
        instructions = on_a_warp(case)
        if instructions is None:
            return {}
        operations = 32 * pairs * instructions
    else:
        return {}
    return {"operations": operations, "bytes": 4 * case.D * (pairs if case.op in WRITES_ALL else case.N)}


WRITES_ALL = ("noise", "forward_process")


def on_a_lane(case: Case) -> float:
    """Operations of a vector's lane for a (sample, step)."""
    noise, h, d = NOISE * case.D, case.H, case.D
    bound = 10 * h * (d + 1) + 80 * d if is_small(d, h) else 8 * h * (d + 1) + 60 * d
    return (
        noise
        + {
            "noise": 0,
            "forward_process": WALK * d,
            "variational_bound": WALK * d + bound,
            "training_step": WALK * d + bound,
            "reverse_process": 4 * h * (d + 1) + 38 * d,
        }[case.op]
    )


def on_a_warp(case: Case) -> float | None:
    """Instructions of a warp for a (sample, step), where the loop of the kernel says so."""
    from triton.backends.compiler import GPUTarget

    from benchmarks import machine_code
    from kernels import launch

    op = "variational_bound" if case.op == "training_step" else case.op
    wanted = {"D": case.D, "H": case.H, "GROUPS": 1 if case.N >= launch.MANY else launch.LANES, "HISTORY": False}
    for each in machine_code.specializations():
        if each.name == op and each.pairs and all(wanted.get(k, v) == v for k, v in each.constants.items()):
            major, minor = torch.cuda.get_device_capability()
            target = GPUTarget("cuda", 10 * major + minor, 32)
            return machine_code.resources(machine_code.compile_for(each, target)).loop / each.pairs
    return None

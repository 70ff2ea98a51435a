"""Operations and bytes that one of our kernels needs. With a ceiling they give the shortest time that it could take.

They are counted as in benchmarks.ceiling: a multiply-add is one operation. If a kernel's file has `operations`, these
are operations of a lane of a vector. For Triton's kernels they are read from the machine code. The bytes are those of
inputs and outputs, without those that a kernel writes and reads again in between.
"""

from typing import Any

import torch

from benchmarks.cases import Case
from kernels import backends
from kernels.triton import sizes

WRITES_ALL = ("noise", "forward_process")


def of(case: Case, name: str) -> dict[str, Any]:
    """Return {"operations": total, "bytes": total}, or {} if the kernel is not ours or is not counted."""
    if name not in backends.REGISTERED:
        return {}
    op = "variational_bound" if case.op == "training_step" else case.op
    pairs = case.N * case.T  # (sample, step)
    count = getattr(backends.get(name).implementation(op), "operations", None)
    each = instructions(case, op) if count is None else count(case.D, case.H)
    if each is None:
        return {}
    return {"operations": pairs * each, "bytes": 4 * case.D * (pairs if op in WRITES_ALL else case.N)}


def instructions(case: Case, op: str) -> float | None:
    """Return the instructions of a Triton kernel for a (sample, step), times the lanes of a warp, or None."""
    if case.device != "cuda":
        return None
    from triton.backends.compiler import GPUTarget

    from benchmarks import machine_code

    wanted = {"D": case.D, "H": case.H, "GROUPS": 1 if case.N >= sizes.MANY else sizes.LANES, "HISTORY": False}
    for each in machine_code.specializations():
        if each.name == op and each.pairs and all(wanted.get(k, v) == v for k, v in each.constants.items()):
            major, minor = torch.cuda.get_device_capability()
            target = GPUTarget("cuda", 10 * major + minor, 32)
            return 32 * machine_code.resources(machine_code.compile_for(each, target)).loop / each.pairs
    return None

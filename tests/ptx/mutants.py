"""Which wrong instructions the tests notice: change one instruction of a kernel, and run its tests.

    EMULATE=90 PYTHONPATH=tests python -m ptx.mutants                      every kernel, some instructions of each
    EMULATE=90 PYTHONPATH=tests python -m ptx.mutants noise --every 1      one kernel, every instruction

Mutants that no test notices are printed. docs/ptx.md explains them.
"""

import argparse
import collections
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import conftest  # noqa: F401  starts the emulation
import pytest
import torch

from kernels.triton import launch, sizes
from ptx import emulation
from ptx.faults import Undefined, UnknownInstruction
from ptx.parser import Address, Immediate, Instruction, Kernel, Operand, Register

SWAPPED = {
    **{"add": "sub", "sub": "add", "and": "or", "or": "and", "xor": "or", "not": "mov", "neg": "abs", "abs": "neg"},
    **{"lt": "le", "le": "lt", "gt": "ge", "ge": "gt", "eq": "ne", "ne": "eq", "max": "min", "min": "max"},
    **{"shl": "shr", "shr": "shl", "bfly": "up", "up": "down", "down": "up", "idx": "up", "hi": "lo"},
}


# ---- the changes


def mutants(kernel: Kernel, at: int) -> Iterator[tuple[str, Instruction | None]]:
    """Yield the changed forms of an instruction, each with a description. None removes the instruction."""
    step = kernel.code[at]
    if step.opcode.startswith("ld.param") or step.opcode in ("ret", "bra.uni"):
        return
    if step.opcode.startswith(("bar", "st", "bra")):
        yield "without it", None
    if step.guard is not None:
        yield "without its guard", dataclasses.replace(step, guard=None)
        yield "with the other guard", dataclasses.replace(step, wanted=not step.wanted)
    words = step.opcode.split(".")
    for i, word in enumerate(words):
        if word in SWAPPED:
            opcode = ".".join((*words[:i], SWAPPED[word], *words[i + 1 :]))
            yield f"as {opcode}", dataclasses.replace(step, opcode=opcode)
            break
    first = 0 if step.opcode.startswith("st") else 1
    for i, operand in list(enumerate(step.operands))[first:]:
        changed = other(kernel, at, operand)
        if changed is not None and changed != operand:
            operands = (*step.operands[:i], changed, *step.operands[i + 1 :])
            yield f"with {_shown(changed)} as operand {i}", dataclasses.replace(step, operands=operands)


def other(kernel: Kernel, at: int, operand: Operand) -> Operand | None:
    """Return a wrong operand: a nearby number, the next word of memory, or the last register of the same kind."""
    if isinstance(operand, Immediate):
        if kernel.code[at].opcode.endswith(".f32"):
            changed = operand.value ^ (1 << 12) if operand.value else 0x3F800000  # 0 becomes 1
            return dataclasses.replace(operand, value=changed)
        return dataclasses.replace(operand, value=operand.value ^ 1)
    if isinstance(operand, Address):
        return dataclasses.replace(operand, offset=operand.offset + 4)
    if isinstance(operand, Register):
        for step in reversed(kernel.code[:at]):
            found = step.operands[0] if step.operands else None
            if isinstance(found, Register) and found != operand and _kind(found) == _kind(operand):
                return found
    return None


def _kind(register: Register) -> str:
    return register.name.rstrip("0123456789")


def _shown(operand: Operand) -> str:
    if isinstance(operand, Immediate):
        return hex(operand.value)
    return f"+{operand.offset}" if isinstance(operand, Address) else getattr(operand, "name", str(operand))


# ---- the tests


Check = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Subject:
    """The name of a kernel's function, and some tests of the kernel, the fastest first."""

    kernel: str
    tests: Sequence[Check]

    def find(self) -> Kernel:
        """Return the kernel. If it has several specialisations, return the longest."""
        launched: list[Kernel] = []

        def note(kernel: Kernel) -> Kernel:
            launched.append(kernel)
            return kernel

        emulation.transform = note
        for test in self.tests:
            test()
        return max((kernel for kernel in launched if kernel.name == self.kernel), key=lambda kernel: len(kernel.code))


def subjects() -> dict[str, Subject]:
    import test_bound_on_triton as bound
    import test_one_arithmetic as same_bits
    import test_reverse_process
    import test_transition_bound

    from kernels.noise import FORWARD

    place = same_bits.PLACES[1]

    def of_many(check: Check) -> Check:
        def with_many() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sizes, "MANY", 1)
                check()

        return with_many

    noises = [functools.partial(same_bits.test_noise, *size, FORWARD, place) for size in ((1, 1, 1), (67, 5, 37))]
    forward = [functools.partial(same_bits.test_forward_process, 100, 3, 37, "linear", place)]
    steps = [functools.partial(same_bits.test_reverse_step, t, place) for t in (1, 2)]
    transition = [
        *(functools.partial(test_transition_bound.test_equality, "triton", (n,)) for n in (2, 1023, 1025)),
        functools.partial(test_transition_bound.test_a_std_that_is_not_positive_shows, "triton", 0.0),
        *(functools.partial(test_transition_bound.test_one_std_everywhere, "triton", std) for std in (0.72, 1.4)),
    ]
    small, wide = (
        [
            functools.partial(bound.assert_equal, "triton", *size),
            functools.partial(bound.assert_equal, "triton", *size, std_shift=-13.8),
            *(functools.partial(bound.test_std_of_one_value, *one, s) for s in (0.0, 0.3)),
        ]
        for size, one in (((1, 4, 9, 150), (1, 4)), ((2, 33, 3, 5), (2, 33)))
    )
    mean = [functools.partial(bound.test_adds_up_all_programs, programs) for programs in (3, 1024, 2500)]
    samples = [
        functools.partial(same_bits.test_reverse_process, 1, 4, steps, shift)
        for steps, shift in ((16, 5.0), (15, 0.0), (13, -13.8))  # the last group has all four normals, three and one
    ]
    samples_wide = [
        functools.partial(test_reverse_process.assert_equal, "triton", 8, 16, 9, 5, shift) for shift in (1.0, -13.8)
    ]
    return {
        "noise": Subject("normal_kernel", noises),
        "forward process": Subject("forward_kernel", forward),
        "reverse step": Subject("step_kernel", steps),
        "transition bound": Subject("transition_kernel", transition),
        "mean": Subject("mean_kernel", mean),
        "bound": Subject("unrolled_kernel", small),
        "bound of many samples": Subject("unrolled_kernel", [*map(of_many, small)]),
        "bound, wide": Subject("wide_kernel", wide),
        "sampling": Subject("unrolled_kernel", samples),
        "sampling, wide": Subject("wide_kernel", samples_wide),
    }


def verdict(tests: Sequence[Check], kernel: Kernel, at: int, step: Instruction | None) -> str:
    """Test a mutant. Return "fault" if the machine stops, "wrong" if a test fails, and "survived" otherwise."""
    code = kernel.code[:at] + ((step,) if step else ()) + kernel.code[at + 1 :]
    labels = {name: where - (step is None and where > at) for name, where in kernel.labels.items()}
    mutant = dataclasses.replace(kernel, code=code, labels=labels)
    emulation.transform = lambda launched: mutant if launched is kernel else launched
    try:
        for test in tests:
            test()
    except (Undefined, UnknownInstruction, TypeError, KeyError):
        return "fault"
    except Exception:
        return "wrong"
    return "survived"


def main(arguments: list[str]) -> None:
    known = subjects()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", nargs="*", help=f"one or more of {', '.join(known)} (default: all)")
    parser.add_argument("--every", type=int, default=5, help="change every EVERY-th instruction only (default: 5)")
    options = parser.parse_args(arguments)
    torch.use_deterministic_algorithms(True)  # new tensors are NaN, not the results of the last mutant
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "warps", lambda device: 3)  # as in the tests
        patch.setattr(emulation, "limit", 10**5)
        for name in options.kernel or known:
            report(name, known[name], options.every)


def report(name: str, subject: Subject, every: int) -> None:
    """Print the mutants of a kernel that survive, and the number of each verdict."""
    found: collections.Counter[str] = collections.Counter()
    start, kernel = time.monotonic(), subject.find()
    for at in range(0, len(kernel.code), every):
        for what, step in mutants(kernel, at):
            said = verdict(subject.tests, kernel, at, step)
            found[said] += 1
            if said == "survived":
                print(f"    {kernel.code[at]}: {what}", flush=True)
    print(f"{name} ({len(kernel.code)} instructions): {dict(found)} in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Compile every Triton kernel for GPUs, without a GPU, and count registers, spills, instructions and shared memory.

`python -m benchmarks.machine_code` prints the table from which the limits in the kernels' docstrings are taken. A
kernel is compiled as at a launch: Triton checks whether a tensor begins at a multiple of 16 bytes, and here every
tensor does. (A row of a tensor does so if the row's length is a multiple of 4.)
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.forward_process.triton import forward_kernel
from kernels.noise.triton import normal_kernel
from kernels.reverse_process import triton as reverse_process
from kernels.reverse_step.triton import step_kernel
from kernels.transition_bound.triton import transition_kernel
from kernels.triton import launch, sizes
from kernels.variational_bound.triton import mean_kernel
from kernels.variational_bound.triton_unrolled import unrolled_kernel
from kernels.variational_bound.triton_wide import wide_kernel

SM80, SM90, GFX942 = GPUTarget("cuda", 80, 32), GPUTarget("cuda", 90, 32), GPUTarget("hip", "gfx942", 64)

# the tutorial's network and, for each dimension, the widest that is unrolled; then some corner cases of wide ones
UNROLLED = [(1, 4), (1, 12), (2, 6), (3, 4)]
WIDE = [(1, 64), (4, 64), (8, 16), (8, 64)]


NO_TABLES = dict.fromkeys(("skip_ptr", "out_table_ptr", "std_scale_ptr"))
WITH_TABLES = [(1, 4), (1, 10), (2, 5), (3, 3)]  # the tutorial's size, and the widest that are unrolled


INSTRUCTION = r"/\*[0-9a-f]{4,}\*/\s+(?=\S)"  # the address before an instruction in nvdisasm's listing


@dataclass(frozen=True)
class Specialization:
    """A kernel, the constants of its launch, and the (sample, step) pairs that a warp does in one turn of its loop."""

    name: str
    kernel: Any
    constants: dict[str, Any]
    pairs: int
    warps: int = 1

    def __str__(self) -> str:
        constants = {key: value for key, value in self.constants.items() if value is not None}
        return f"{self.name} " + " ".join(f"{key}={value}" for key, value in constants.items())


def specializations() -> Iterator[Specialization]:
    """Yield the specializations that the launchers use."""
    yield Specialization("noise", normal_kernel, {"STREAM": 0, "BLOCK": 128}, 0)
    yield Specialization("forward_process", forward_kernel, {"BLOCK": 32}, 4 * 32)
    yield Specialization("transition_bound", transition_kernel, {"BLOCK": 1024, "variance_ptr": None}, 0, 4)
    yield Specialization("transition_bound in closed form", transition_kernel, {"BLOCK": 1024}, 0, 4)
    yield Specialization("reverse_step", step_kernel, {"LANE": 0, "BLOCK": 256}, 0, 4)
    yield Specialization("mean", mean_kernel, {"DIM": 1, "BLOCK": 1024}, 0, 4)
    small = [(size, "", NO_TABLES) for size in UNROLLED] + [(size, " with tables", {}) for size in WITH_TABLES]
    for (dim, hidden), tables, without in small:
        network = {"D": dim, "H": hidden, **without}
        for groups in (1, sizes.LANES):
            block = {"BLOCK_N": sizes.LANES // groups, "GROUPS": groups}
            yield Specialization(f"variational_bound{tables}", unrolled_kernel, network | block, 4 * 32)
        for history in (False, True) if hidden == 4 and not tables else (False,):
            constants = network | {"BLOCK_N": sizes.LANES, "HISTORY": history}
            yield Specialization(f"reverse_process{tables}", reverse_process.unrolled_kernel, constants, 4 * 32)
    large = [(size, "", NO_TABLES) for size in WIDE] + [((8, 64), " with tables", {})]
    for (dim, hidden), tables, without in large:
        wide: dict[str, Any] = sizes.wide_sizes(dim, hidden) | without
        yield Specialization(f"variational_bound{tables}", wide_kernel, wide, wide["BLOCK_N"])
        for history in (False, True) if dim == 8 and not tables else (False,):
            constants = wide | {"HISTORY": history}
            yield Specialization(f"reverse_process{tables}", reverse_process.wide_kernel, constants, 0)


def compile_for(specialization: Specialization, target: GPUTarget, step: str = "*i64") -> Any:
    """Return the compiled kernel. `step` is a type in Triton's notation: a pointer, as in a CUDA graph, or a number."""
    kernel, constants = specialization.kernel, specialization.constants

    def kind(name: str) -> str:
        if name in constants:
            return "constexpr"
        if name == "step":
            return step
        if name.endswith("_ptr"):
            return "*fp64" if name == "constant_ptr" else "*fp32"
        return "fp32" if name == "weight" else "i32"

    kinds = {name: kind(name) for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kinds) if kinds[name].startswith("*")}
    source = ASTSource(kernel, kinds, constants, aligned)
    options = launch.OPTIONS | {"num_warps": specialization.warps}
    return triton.compile(source, target=target, options=options)


@dataclass(frozen=True)
class Resources:
    """The resources that a kernel uses.

    Attributes:
        registers: registers of a thread.
        stack: bytes of a thread's stack, where spilled registers go.
        loop: instructions of the longest innermost loop.
        code: instructions of the whole kernel.
        shared: bytes of shared memory of a program.
        exchanges: PTX instructions that write or read shared memory.
    """

    registers: int
    stack: int
    loop: int
    code: int
    shared: int
    exchanges: int


def resources(compiled: Any) -> Resources:
    """Return the resources of an NVIDIA kernel, measured with the tools that come with Triton."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        tools = triton.knobs.nvidia
        usage = _run(tools.cuobjdump.path, "-res-usage", file.name)
        listing = _run(tools.nvdisasm.path, "-c", file.name)
    registers, stack = (int(re.search(rf"{what}:(\d+)", usage)[1]) for what in ("REG", "STACK"))  # type: ignore[index]
    return Resources(
        registers=registers,
        stack=stack,
        loop=max(innermost(listing), default=0),
        code=len(re.findall(rf"{INSTRUCTION}(?!NOP)", listing)),
        shared=compiled.metadata.shared,
        exchanges=len(re.findall(r"\b(?:stmatrix|ldmatrix|st\.shared|ld\.shared)", compiled.asm["ptx"])),
    )


def innermost(listing: str) -> list[int]:
    """Return the instructions of each innermost loop. A loop lies between a label and a branch back to it."""
    labels: dict[str, int] = {}
    loops: list[tuple[int, int]] = []
    at = 0
    for line in listing.splitlines():
        if label := re.match(r"\s*(\.L_\w+):", line):
            labels[label[1]] = at
        elif re.search(INSTRUCTION, line):
            at += 1
            branch = re.search(r"BRA.*`\((\.L_\w+)\)", line)
            if branch and labels.get(branch[1], at) < at - 1:
                loops.append((labels[branch[1]], at))

    def holds_another(loop: tuple[int, int]) -> bool:
        return any(loop[0] <= begin and end <= loop[1] for begin, end in loops if (begin, end) != loop)

    return [end - begin for begin, end in loops if not holds_another((begin, end))]


def amd_scratch(compiled: Any) -> int:
    """Return the bytes of memory that an AMD kernel spills to (scalars spilled to vector registers need none)."""
    return sum(int(size) for size in re.findall(r"\.private_segment_fixed_size:\s+(\d+)", compiled.asm["amdgcn"]))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(f"Triton {triton.__version__}, sm_90\n")
    print("registers  stack  shared  exchanges  code  loop  warp instructions of the loop for a (sample, step)")
    for each in specializations():
        found = resources(compile_for(each, SM90))
        share = f"{found.loop / each.pairs:.2f}" if each.pairs else ""
        sizes_of = f"{found.registers:9}  {found.stack:5}  {found.shared:6}  {found.exchanges:9}"
        print(f"{sizes_of}  {found.code:4}  {found.loop:4}  {share:>6}  {each}", flush=True)

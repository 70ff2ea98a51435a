"""One launch of a kernel: all programs and all their threads at once, as NumPy arrays.

The threads of a program execute the code together. Where a branch goes different ways for different programs, the
programs are split, and each part runs to the end by itself.
"""

from collections.abc import Sequence

import numpy as np

from ptx import Array, arithmetic, floats, instructions, memory
from ptx.faults import Diverged, Undefined, UnknownInstruction
from ptx.parser import Instruction, Kernel, Name
from ptx.registers import Registers

ENDS, BRANCHES = ("ret", "exit"), ("bra", "bra.uni")


class Machine:
    """A launch.

    Args:
        kernel: the kernel to run.
        grid: the number of programs in each of up to three dimensions.
        arguments: the bits of each parameter, in order.
        tensors: the tensors that pointers among the arguments point to.
        shared: bytes of shared memory of each program.
        limit: the number of instructions after which the kernel counts as endless.
    """

    def __init__(
        self,
        kernel: Kernel,
        grid: Sequence[int],
        arguments: Sequence[int],
        tensors: memory.Tensors,
        shared: int = 0,
        limit: int = 10**7,
    ) -> None:
        self.kernel, self.tensors, self.limit, self.executed = kernel, tensors, limit, 0
        self.grid = (*grid, 1, 1)[:3]
        programs = int(np.prod(self.grid))
        self.thread = np.arange(kernel.threads)[None]
        self.order = memory.Threads(programs, kernel.threads)
        self.global_memory = tensors.open(self.order)
        self.shared_memory = memory.Shared(programs, shared, self.order)
        self.parameters = {
            name: np.full((1, 1), value & ((1 << arithmetic.width(kind)) - 1), f"u{arithmetic.width(kind) // 8}")
            for (name, kind), value in zip(kernel.parameters.items(), arguments, strict=True)
        }
        self.programs = np.arange(programs)[:, None]
        self.registers = Registers(self._fixed(self.programs))

    def run(self) -> None:
        """Run all programs to their end, and only then change the tensors.

        Raises:
            UnknownInstruction: the machine does not know an instruction.
            Undefined: the kernel does something that PTX leaves undefined. A note on either error names the instruction
                and its line.
        """
        code = self.kernel.code
        with floats.ieee_754():
            waiting = [(0, self.programs, self.registers)]
            while waiting:
                at, self.programs, self.registers = waiting.pop()
                while at < len(code):
                    step, at = code[at], at + 1
                    try:
                        taken = self._execute(step)
                    except Exception as error:
                        error.add_note(f"in {self.kernel.name}, {step}")
                        raise
                    if taken is None or not taken.any():
                        continue
                    if not taken.all():
                        waiting.append((at, *self._part(~taken)))
                        self.programs, self.registers = self._part(taken)
                    at = self._target(step)
        self.tensors.close(self.global_memory)

    def _target(self, step: Instruction) -> int:
        if step.opcode in ENDS:
            return len(self.kernel.code)
        (label,) = step.operands
        assert isinstance(label, Name)
        return self.kernel.labels[label.name]

    def _part(self, chosen: Array) -> tuple[Array, Registers]:
        programs = self.programs[chosen]
        return programs, self.registers.part(chosen, self._fixed(programs))

    def _fixed(self, programs: Array) -> dict[str, Array]:
        """Return the special registers of some programs."""
        x, y, z = self.grid
        values = {
            "%tid.x": self.thread,
            "%laneid": self.thread % memory.LANES,
            "%ntid.x": self.kernel.threads,
            "%ctaid.x": programs % x,
            "%ctaid.y": programs // x % y,
            "%ctaid.z": programs // (x * y),
            "%nctaid.x": x,
            "%nctaid.y": y,
            "%nctaid.z": z,
        }
        return {name: np.array(value, "u4", ndmin=2) for name, value in values.items()}

    def _execute(self, step: Instruction) -> Array | None:
        """Execute an instruction. Return which programs take the branch, or None if it is not a branch."""
        self.executed += 1
        if self.executed > self.limit:
            raise Undefined(f"{self.kernel.name} has not ended after {self.limit} instructions")
        registers, active = self.registers, None
        registers.suspect = None
        if step.guard is not None:
            active = registers.read(step.guard, "pred") == step.wanted
            registers.must_be_written("a guard")
        if step.opcode in BRANCHES or step.opcode in ENDS:
            return self._branch(active)
        if found := instructions.find(step.opcode):
            execute, modifiers = found
            execute(self, step.operands, active, *modifiers)
        else:
            self._compute(step, active)
        return None

    def _compute(self, step: Instruction, active: Array | None) -> None:
        operation = arithmetic.operation(step.opcode)
        to, *sources = step.operands
        if len(sources) != len(operation.sources):
            raise UnknownInstruction(f"{step.opcode} takes {len(operation.sources)} operands; got {len(sources)}")
        chopped = step.opcode.startswith("cvt.")  # it may read a wider register, of which it uses the low bits
        values = [
            self.registers.read(source, kind, chopped) for source, kind in zip(sources, operation.sources, strict=True)
        ]
        if step.opcode.startswith("selp."):
            self.registers.choose((sources[0], sources[1], sources[2]), values[2])
        self.registers.write(to, operation.compute(*values), active)

    def _branch(self, active: Array | None) -> Array:
        if active is None:
            return np.ones(len(self.programs), bool)
        active = self.everywhere(active)
        if (active != active[:, :1]).any():
            raise Diverged("threads of one program go different ways")
        return active[:, 0]

    def everywhere(self, value: Array) -> Array:
        """Return a value for each thread of the running programs."""
        return np.broadcast_to(value, (len(self.programs), self.kernel.threads))

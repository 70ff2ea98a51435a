"""Instructions beyond arithmetic: memory accesses, and operations of a warp or a program as a whole.

Each function takes the machine, the operands, which threads are active (None: all), and the modifiers of its opcode.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptx import Array, arithmetic
from ptx.arithmetic import dtype
from ptx.faults import Undefined, UnknownInstruction
from ptx.memory import LANES, Global, Shared
from ptx.parser import Address, Immediate, Name, Operand

if TYPE_CHECKING:
    from ptx.machine import Machine

Operands = Sequence[Operand]


# ---- registers


def parameter(machine: "Machine", operands: Operands, active: Array | None, kind: str) -> None:
    """ld.param: read an argument of the launch."""
    to, address = operands
    assert isinstance(address, Address)
    machine.registers.write(to, machine.parameters[address.base.name].view(dtype(kind)), active)


def move(machine: "Machine", operands: Operands, active: Array | None, kind: str) -> None:
    """mov: copy a register. Either side may be a vector of its parts."""
    registers, (to, source) = machine.registers, operands
    if isinstance(to, tuple):
        value = np.ascontiguousarray(registers.read(source, kind))
        parts = value[..., None].view(f"u{value.dtype.itemsize // len(to)}")
        for i, register in enumerate(to):
            registers.write(register, np.ascontiguousarray(parts[..., i]), active)
    elif isinstance(source, tuple):
        part = f"b{arithmetic.width(kind) // len(source)}"
        values = np.broadcast_arrays(*(registers.read(each, part) for each in source))
        registers.write(to, np.ascontiguousarray(np.stack(values, -1)).view(dtype(kind))[..., 0], active)
    else:
        registers.write(to, registers.read(source, kind), active)


# ---- memory


@dataclass(frozen=True)
class Access:
    """The accesses of one instruction: the first word and thread of each, and a mask of the threads that make one."""

    memory: Shared | Global
    word: Array
    thread: Array
    mask: Array


def access(machine: "Machine", operand: Operand, active: Array | None, space: str, size: int) -> Access:
    """Return the accesses of `size` bytes."""
    address = machine.everywhere(address_of(machine, operand))
    mask = machine.everywhere(np.asarray(True) if active is None else active)
    machine.registers.must_be_written("an address", mask)
    program = machine.everywhere(machine.programs)[mask]
    thread = program * machine.kernel.threads + machine.everywhere(machine.thread)[mask]
    memory: Shared | Global = machine.shared_memory if space == "shared" else machine.global_memory
    return Access(memory, memory.find(address[mask], size, program), thread, mask)


def address_of(machine: "Machine", operand: Operand) -> Array:
    """Return the address, in bytes."""
    assert isinstance(operand, Address)
    base = machine.registers.bits.get(operand.base.name)
    wide = isinstance(operand.base, Name) or base is None or base.dtype.itemsize == 8
    return machine.registers.read(operand.base, "u64" if wide else "u32").astype("i8") + operand.offset


def elements(operand: Operand, vector: str | None) -> tuple[Operand, ...]:
    """Return the registers of a vector, or the single register."""
    found = operand if isinstance(operand, tuple) else (operand,)
    if len(found) != int((vector or "v1")[1:]):
        raise UnknownInstruction(f"{vector} of {len(found)} operands")
    return found


def load(
    machine: "Machine", operands: Operands, active: Array | None, space: str, vector: str | None, kind: str
) -> None:
    registers, words = elements(operands[0], vector), arithmetic.width(kind) // 32
    at = access(machine, operands[1], active, space, 4 * words * len(registers))
    for i, register in enumerate(registers):
        found = np.zeros((*at.mask.shape, words), "u4")
        for w in range(words):
            found[at.mask, w] = at.memory.load(at.word + words * i + w, at.thread)
        machine.registers.write(register, found.view(dtype(kind))[..., 0], active)


def store(
    machine: "Machine", operands: Operands, active: Array | None, space: str, vector: str | None, kind: str
) -> None:
    values, words = elements(operands[1], vector), arithmetic.width(kind) // 32
    at = access(machine, operands[0], active, space, 4 * words * len(values))
    for i, register in enumerate(values):
        value = np.broadcast_to(machine.registers.read(register, kind), at.mask.shape)[at.mask]
        machine.registers.must_be_written("what is stored", at.mask)
        parts = np.ascontiguousarray(value).view("u4").reshape(-1, words)
        for w in range(words):
            at.memory.store(at.word + words * i + w, parts[:, w], at.thread)


def matrices(machine: "Machine", operands: Operands, active: Array | None, name: str, number: str) -> None:
    """ldmatrix and stmatrix: load or store 8 x 8 matrices with elements of 16 bits.

    Lane 8 i + row has the address of a row of matrix i. Lane 4 row + word has a word of the row.
    """
    if active is not None:
        raise UnknownInstruction(f"{name} with a guard")
    values, place = operands if name == "ldmatrix" else operands[::-1]
    vector = elements(values, f"v{number}")
    address, lane = machine.everywhere(address_of(machine, place)), machine.thread % LANES
    machine.registers.must_be_written("an address", lane < 8 * len(vector))
    program = machine.everywhere(machine.programs)
    thread = (program * machine.kernel.threads + machine.thread).ravel()
    memory: Shared = machine.shared_memory
    words = []
    for i in range(len(vector)):
        holder = machine.everywhere(machine.thread - lane + 8 * i + lane // 4)
        row = np.take_along_axis(address, holder, axis=1)
        words.append(memory.find(row.ravel(), 16, program.ravel()) + machine.everywhere(lane % 4).ravel())
    if name == "ldmatrix":
        for word, register in zip(words, vector, strict=True):
            machine.registers.write(register, memory.load(word, thread).reshape(program.shape))
    else:
        stored = [machine.everywhere(machine.registers.read(register, "b32")).ravel() for register in vector]
        machine.registers.must_be_written("what is stored")
        memory.store(np.concatenate(words), np.concatenate(stored), np.tile(thread, len(vector)))


# ---- threads together


def shuffle(machine: "Machine", operands: Operands, active: Array | None, how: str) -> None:
    """shfl.sync: read the value of another lane of the warp, or the thread's own if that lane is out of range."""
    registers = machine.registers
    source = machine.everywhere(registers.read(operands[1], "b32"))
    unwritten, registers.suspect = registers.suspect, None
    b, c, members = (registers.read(operand, "b32").astype("i8") for operand in operands[2:])
    registers.must_be_written("the lane of a shuffle", True if active is None else active)
    if (members != 0xFFFFFFFF).any():
        raise UnknownInstruction("a shuffle of a part of a warp")
    if active is not None and not _whole_warps(machine, active):
        raise Undefined("a shuffle waits for lanes that take no part")
    lane = machine.thread % LANES
    segment, clamp, b = (c >> 8) & 31, c & 31, b & 31
    first, last = lane & segment, (lane & segment) | (clamp & ~segment)
    other = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": first | (b & ~segment)}[how]
    reached = other >= last if how == "up" else other <= last
    taken = machine.everywhere(np.where(reached, other, lane) + machine.thread - lane)
    if unwritten is not None:
        registers.suspect = np.take_along_axis(machine.everywhere(unwritten), taken, axis=1)
    registers.write(operands[0], np.take_along_axis(source, taken, axis=1), active)


def _whole_warps(machine: "Machine", active: Array) -> bool:
    warps = machine.everywhere(active).reshape(len(machine.programs), -1, LANES)
    return bool((warps == warps[..., :1]).all())


def barrier(machine: "Machine", operands: Operands, active: Array | None, scope: str) -> None:
    """bar.sync 0 for whole programs, bar.warp.sync for whole warps."""
    everyone = (Immediate(0),) if scope == "" else (Immediate(-1), Immediate(0xFFFFFFFF))
    if active is not None or operands[0] not in everyone or len(operands) > 1:
        raise UnknownInstruction("a barrier of a part of the threads")
    machine.order.barrier(machine.programs[:, 0], whole_program=scope == "")


TABLE: dict[str, Callable[..., None]] = {
    r"ld\.param\.(\w+)": parameter,
    r"mov\.(b\d+)": move,
    r"ld\.(global|shared)(?:\.(v[24]))?\.([busf](?:32|64))": load,
    r"st\.(global|shared)(?:\.(v[24]))?\.([busf](?:32|64))": store,
    r"(ldmatrix|stmatrix)\.sync\.aligned\.m8n8\.x([124])\.shared\.b16": matrices,
    r"shfl\.sync\.(up|down|bfly|idx)\.b32": shuffle,
    r"bar(\.warp|)\.sync": barrier,
}


@functools.cache
def find(opcode: str) -> tuple[Callable[..., None], tuple[str | None, ...]] | None:
    """Return the function that executes an opcode, and its modifiers. Return None if the opcode is arithmetic."""
    for pattern, execute in TABLE.items():
        if found := re.fullmatch(pattern, opcode):
            return execute, found.groups()
    return None

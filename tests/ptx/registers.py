"""The registers of the running programs, and which threads have never written them."""

import functools
from collections.abc import Mapping
from typing import Self

import numpy as np

from ptx import Array
from ptx.arithmetic import dtype
from ptx.faults import Undefined, UnknownInstruction
from ptx.parser import Immediate, Name, Operand, Register


class Registers:
    """Registers by name. Each has its bits in an array of unsigned integers or booleans.

    All arrays broadcast to [programs, threads].

    Attributes:
        fixed: the special registers, which nothing writes.
        suspect: the threads for which a value that this instruction has read depends on a register they never wrote;
            None if there are none.
    """

    def __init__(self, fixed: Mapping[str, Array]) -> None:
        self.fixed = fixed
        self.bits: dict[str, Array] = {}
        self.unwritten: dict[str, Array] = {}
        self.suspect: Array | None = None

    def part(self, chosen: Array, fixed: Mapping[str, Array]) -> Self:
        """Return the registers of the chosen programs."""

        def rows(values: Mapping[str, Array]) -> dict[str, Array]:
            return {name: value if len(value) == 1 else value[chosen] for name, value in values.items()}

        part = type(self)(fixed)
        part.bits, part.unwritten = rows(self.bits), rows(self.unwritten)
        return part

    def read(self, operand: Operand, kind: str, chopped: bool = False) -> Array:
        """Return an operand as a type. The widths must agree, or, if `chopped`, its low bits are taken."""
        if not isinstance(operand, Register):
            return _constant(operand, kind)
        to, value = dtype(kind), self._find(operand.name)
        if chopped and value.dtype.itemsize > to.itemsize and to.kind in "ui":
            value = value.astype(f"u{to.itemsize}")
        if value.dtype.itemsize != to.itemsize or (value.dtype.kind == "b") != (kind == "pred"):
            raise TypeError(f"{operand.name} holds {value.dtype}, not {kind}")
        return value.view(to)

    def _find(self, name: str) -> Array:
        if name in self.unwritten:
            self.suspect = self.unwritten[name] if self.suspect is None else self.suspect | self.unwritten[name]
        for registers in (self.bits, self.fixed):
            if name in registers:
                return registers[name]
        raise Undefined(f"{name} is read but was never written")

    def write(self, operand: Operand, value: Array, active: Array | None = None) -> None:
        """Write a register of the active threads."""
        if not isinstance(operand, Register):
            raise UnknownInstruction(f"no place for a result: {operand}")
        name = operand.name
        if name == "_":
            return
        if name in self.fixed:
            raise UnknownInstruction(f"{name} is written but is read-only")
        bits = value if value.dtype.kind == "b" else value.view(f"u{value.dtype.itemsize}")
        unwritten = self.suspect
        if active is not None and not active.all():
            new, before = np.asarray(False if unwritten is None else unwritten), np.asarray(name not in self.bits)
            unwritten = np.where(active, new, self.unwritten.get(name, before))
            old = self.bits.get(name, np.zeros((1, 1), bits.dtype))
            if old.dtype != bits.dtype:
                raise TypeError(f"{name} holds {old.dtype}, and some threads write {bits.dtype}")
            bits = np.where(active, bits, old)
        self.bits[name] = bits
        self.unwritten.pop(name, None)
        if unwritten is not None and unwritten.any():
            self.unwritten[name] = unwritten

    def choose(self, operands: tuple[Operand, Operand, Operand], first: Array) -> None:
        """Note that the result of selp depends on the predicate and the chosen operand, not on the other one."""
        if self.suspect is not None:
            names = (getattr(operand, "name", "") for operand in operands)
            a, b, p = (self.unwritten.get(name, np.zeros((1, 1), bool)) for name in names)
            self.suspect = p | np.where(first, a, b)

    def must_be_written(self, what: str, used: Array | bool = True) -> None:
        """Raise Undefined if a `used` thread has now read a value that depends on a register it never wrote."""
        if self.suspect is not None and (self.suspect & used).any():
            raise Undefined(f"{what} depends on a register that was never written")


@functools.cache
def _constant(operand: Operand, kind: str) -> Array:
    """Return a number as a type. The address of shared memory is 0."""
    if operand == Name("global_smem"):
        operand = Immediate(0)
    if not isinstance(operand, Immediate):
        raise UnknownInstruction(f"the machine does not know {getattr(operand, 'name', operand)!r}")
    to = dtype(kind)
    width = 8 * to.itemsize
    if operand.float_bits not in (None, width) or not -(1 << width - 1) <= operand.value < 1 << width:
        raise TypeError(f"{operand.value:#x} is not a valid {kind}")
    bits = np.array(operand.value & ((1 << width) - 1), f"u{to.itemsize}", ndmin=2)
    return bits != 0 if kind == "pred" else bits.view(to)

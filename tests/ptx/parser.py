"""Parse PTX text into a kernel, a list of instructions. The parser reads what Triton writes: one kernel per file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ptx.faults import UnknownInstruction


@dataclass(frozen=True)
class Register:
    """A register, or a special one such as %tid.x."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A number: an integer, or the bits of a float and their number (32 or 64)."""

    value: int
    float_bits: int | None = None


@dataclass(frozen=True)
class Name:
    """A label, a parameter or a variable in memory."""

    name: str


@dataclass(frozen=True)
class Address:
    """[base + offset], in bytes."""

    base: "Register | Name"
    offset: int


Operand = Register | Immediate | Name | Address | tuple["Operand", ...]


@dataclass(frozen=True)
class Instruction:
    """An instruction. If it has a guard, only threads whose predicate equals `wanted` execute it.

    Attributes:
        opcode: with all its modifiers, as in fma.rn.f32.
        line: its line in the text, from 1.
    """

    opcode: str
    operands: tuple[Operand, ...]
    guard: Register | None = None
    wanted: bool = True
    line: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True)
class Kernel:
    """The kernel of a PTX file.

    Attributes:
        parameters: name -> type.
        threads: the number of threads of a program.
        labels: name -> index of the next instruction.
    """

    name: str
    parameters: dict[str, str]
    threads: int
    code: tuple[Instruction, ...]
    labels: dict[str, int]


def parse(text: str) -> Kernel:
    """Return the only kernel of a PTX file.

    Raises:
        ValueError: there is no kernel or more than one, or it does not say how many threads it has.
        UnknownInstruction: the parser cannot read a statement.
    """
    text = re.sub(r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    heads = list(re.finditer(r"\.entry\s+(\w+)\s*\((.*?)\)(.*?)\{", text, re.S))
    if len(heads) != 1:
        raise ValueError(f"a PTX file with one kernel is needed; got {len(heads)}")
    (head,) = heads
    threads = re.search(r"\.reqntid\s+(\d+)(?:\s*,\s*1)*\s*$", head[3])
    if threads is None:
        raise ValueError(
            f"a kernel must say how many threads it has, in one dimension: .reqntid; got {head[3].strip()!r}"
        )
    parameters = dict(map(_parameter, filter(None, map(str.strip, head[2].split(",")))))
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line, label, statement in _statements(text, head.end()):
        if label in labels:
            raise UnknownInstruction(f"line {line}: label {label} is defined twice")
        if label:
            labels[label] = len(code)
        elif statement:
            code.append(instruction(statement, line))
    return Kernel(head[1], parameters, int(threads[1]), tuple(code), labels)


def _parameter(text: str) -> tuple[str, str]:
    """Return the name and the type of a parameter."""
    found = re.fullmatch(r"\.param\s+\.([busf]\d+)(?:\s+\.ptr[\s.\w]*?)?\s+(\w+)", text)
    if found is None:
        raise UnknownInstruction(f"a parameter that the machine does not know: {text}")
    return found[2], found[1]


# a label, a brace of a scope, a directive that ends with its line, or a statement
_TOKEN = re.compile(r"\s*(?:([\w$]+):(?=\s)|([{}])|\.(?:loc|file|section)\b[^\n]*|([^;{}\s][^;]*);)")


def _statements(text: str, begin: int) -> Iterator[tuple[int, str | None, str | None]]:
    """Yield the labels and the statements of a body, each with its line."""
    depth, line, at = 1, text.count("\n", 0, begin) + 1, begin
    while depth > 0:
        found = _TOKEN.match(text, at)
        line += text.count("\n", at, found.end() if found else at)
        if found is None:
            raise UnknownInstruction(f"line {line}: {text[at:].strip()[:60]}")
        label, brace, statement = found.groups()
        depth += {"{": 1, "}": -1, None: 0}[brace]
        at = found.end()
        if depth > 1 and statement and statement.startswith(".reg"):
            raise UnknownInstruction(f"line {line}: registers of a scope within the kernel")
        if label or (statement and statement[0] != "."):  # directives declare registers and source lines
            yield line, label, statement


def instruction(text: str, line: int = 0) -> Instruction:
    """Parse one instruction, given without its semicolon."""
    found = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)", text, re.S)
    if found is None:
        raise UnknownInstruction(f"line {line}: {text}")
    parts = re.split(r",(?![^{]*\})", found[4]) if found[4] else []
    try:
        operands = tuple(_operand(part.strip()) for part in parts)
    except ValueError as error:
        raise UnknownInstruction(f"line {line}: {text}: {error}") from None
    guard = Register(found[2]) if found[2] else None
    return Instruction(found[3], operands, guard, not found[1], line, text)


_REGISTER, _NAME = r"%[\w$]+(?:\.[xyz])?|_", r"[A-Za-z_$][\w$]*"


def _operand(text: str) -> Operand:
    """Parse an operand. Raise ValueError if the text is not one."""
    if text.startswith("{") and text.endswith("}"):
        return tuple(_operand(part.strip()) for part in text[1:-1].split(","))
    if found := re.fullmatch(rf"\[\s*(?:({_REGISTER})|({_NAME}))\s*(?:\+\s*(-?\w+)\s*)?\]", text):
        return Address(Register(found[1]) if found[1] else Name(found[2]), int(found[3] or "0", 0))
    if found := re.fullmatch(r"0(?:[fF]([0-9A-Fa-f]{8})|[dD]([0-9A-Fa-f]{16}))", text):
        return Immediate(int(found[1] or found[2], 16), 32 if found[1] else 64)
    if re.fullmatch(r"-?(?:0[xX][0-9A-Fa-f]+|0|[1-9]\d*)U?", text):
        return Immediate(int(text.rstrip("U"), 0))
    if re.fullmatch(_REGISTER, text):
        return Register(text)
    if re.fullmatch(_NAME, text):
        return Name(text)
    raise ValueError(f"not an operand: {text!r}")

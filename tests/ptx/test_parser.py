"""The parser reads PTX as Triton writes it, and refuses anything else."""

import pytest

from ptx.faults import UnknownInstruction
from ptx.parser import Address, Immediate, Name, Register, instruction, parse

TEXT = """
.version 8.7
.target sm_90a
.visible .entry kernel(
	.param .u64 .ptr .global .align 1 kernel_param_0,
	.param .u32 kernel_param_1
)
.reqntid 128, 1, 1
{
	.reg .b32 	%r<3>;   // declared; not executed
	.loc	1 7 0
$L__BB0_1:                              // a comment: with a label
	ld.param.b32 	%r1, [kernel_param_1]; /* two
	lines */ { mov.u32 %r2, 0x0; }
	@!%p1 bra 	$L__BB0_1;
	{
	st.global.v2.b32 [ %rd1 + -8 ], { %r1, %r2 };
	}
	ret;
}
	.section	.debug_abbrev
"""


def test_a_kernel() -> None:
    kernel = parse(TEXT)
    assert (kernel.name, kernel.threads) == ("kernel", 128)
    assert kernel.parameters == {"kernel_param_0": "u64", "kernel_param_1": "u32"}
    assert kernel.labels == {"$L__BB0_1": 0}
    assert [step.opcode for step in kernel.code] == ["ld.param.b32", "mov.u32", "bra", "st.global.v2.b32", "ret"]
    store = kernel.code[3]
    assert store.operands == (Address(Register("%rd1"), -8), (Register("%r1"), Register("%r2")))
    assert "st.global" in TEXT.splitlines()[store.line - 1]
    assert str(store) == f"line {store.line}: {store.text}"


def test_operands() -> None:
    step = instruction("@%p2 fma.rn.f32 %r1, %r2, 0f3F800000, -7")
    assert (step.guard, step.wanted, step.opcode) == (Register("%p2"), True, "fma.rn.f32")
    assert step.operands == (Register("%r1"), Register("%r2"), Immediate(0x3F800000, 32), Immediate(-7))
    step = instruction("@!%p2 mov.b64 {_, %r34}, 0d3FF0000000000000")
    assert not step.wanted
    assert step.operands == ((Register("_"), Register("%r34")), Immediate(0x3FF0000000000000, 64))
    assert instruction("mov.b32 %r1, global_smem").operands[1] == Name("global_smem")
    assert instruction("and.b32 %r1, %r2, 0xffU").operands[2] == Immediate(255)
    assert instruction("ld.shared.b32 %r1, [global_smem+4]").operands[1] == Address(Name("global_smem"), 4)
    assert instruction("ret").operands == ()


def test_what_is_no_kernel() -> None:
    with pytest.raises(ValueError, match="one kernel is needed; got 0"):
        parse("")
    with pytest.raises(ValueError, match="one kernel is needed; got 2"):
        parse(TEXT + TEXT)
    with pytest.raises(ValueError, match="reqntid"):
        parse(TEXT.replace(".reqntid", ".maxntid"))
    with pytest.raises(ValueError, match="in one dimension"):
        parse(TEXT.replace("128, 1, 1", "32, 2, 1"))
    with pytest.raises(UnknownInstruction, match="line 18: ret"):
        parse(TEXT.replace("ret;", "ret"))
    with pytest.raises(UnknownInstruction, match="line 7: 42"):
        instruction("42", 7)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("mov.u32 %r2, 0x0;", ".reg .b32 %r2;", "registers of a scope"),
        ("ret;", "$L__BB0_1: ret;", "is defined twice"),
        (".param .u32 kernel_param_1", ".param .align 8 .b8 kernel_param_1[16]", "a parameter"),
    ],
)
def test_what_a_kernel_may_not_have(before: str, after: str, said: str) -> None:
    with pytest.raises(UnknownInstruction, match=said):
        parse(TEXT.replace(before, after))


@pytest.mark.parametrize(
    "text",
    [
        "add.s32 %r1 %r2, 5",
        "add.s32 %r1, %r2,, 5",
        "setp.lt.s32 %p1|%p2, %r1, %r2",
        "mov.b32 %r1, 010",
        "mov.b32 %r1, 0f3F8",
        "ld.global.b32 %r1, [%rd1-4]",
        "ld.global.b32 %r1, [%rd1",
    ],
)
def test_what_is_no_operand(text: str) -> None:
    with pytest.raises(UnknownInstruction, match=r"line 5: .*: not an operand"):
        instruction(text, 5)

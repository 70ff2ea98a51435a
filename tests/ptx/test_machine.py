"""Kernels written by hand: how threads, warps and programs execute code, and what stops them."""

import pytest
import torch
from torch import Tensor

from ptx.faults import Diverged, Race, Undefined, UnknownInstruction
from ptx.machine import Machine
from ptx.memory import Tensors
from ptx.parser import parse

HEAD = """
.visible .entry kernel(.param .u64 .ptr .global .align 1 out_param, .param .u32 number_param)
.reqntid {threads}
{{
ld.param.b64 %rd1, [out_param];
ld.param.b32 %r1, [number_param];
mov.u32 %r2, %tid.x;
mad.lo.s32 %r3, %r2, 1, 0;
mov.u32 %r4, %ctaid.x;
mad.lo.s32 %r5, %r4, {threads}, %r2;
mad.wide.u32 %rd2, %r5, 4, %rd1;
{body}
$END:
ret;
}}
"""
# %rd1 is the tensor, %r1 the number, %r2 the thread of a program, %r4 the program, %rd2 each thread's own word
STORE = "st.global.b32 [%rd2], %r9;"


def run(
    body: str, number: int = 0, programs: int = 1, threads: int = 32, shared: int = 0, limit: int = 10**7
) -> Tensor:
    """Run a kernel and return each thread's own word, int32 [programs, threads]."""
    out = torch.full((programs, threads), -1, dtype=torch.int32)
    tensors = Tensors()
    kernel = parse(HEAD.format(body=body, threads=threads))
    Machine(kernel, (programs,), [tensors.add(out), number], tensors, shared, limit).run()
    return out


def fails(error: type[Exception], said: str, body: str, **launch: int) -> None:
    """Check that the kernel stops with an error and that a note says where."""
    with pytest.raises(error, match=said) as found:
        run(body, **launch)
    assert any("in kernel, line" in note for note in found.value.__notes__)


def test_threads_and_programs() -> None:
    found = run("add.s32 %r9, %r5, %r1;" + STORE, number=100, programs=3)
    assert found.tolist() == (100 + torch.arange(96).view(3, 32)).tolist()


def test_a_guard_leaves_what_was_there() -> None:
    body = "mov.u32 %r9, 5; setp.lt.s32 %p1, %r2, 2; @%p1 mov.u32 %r9, 7; @!%p1 mov.u32 %r9, %r2;" + STORE
    assert run(body)[0].tolist() == [7, 7, *range(2, 32)]
    body = "mov.u32 %r9, 5; setp.lt.s32 %p1, %r2, 2; @%p1 " + STORE
    assert run(body)[0].tolist() == [5, 5] + [-1] * 30


def test_a_loop_whose_length_depends_on_the_program() -> None:
    body = """
    mov.u32 %r9, 0;
    $LOOP:
    add.s32 %r9, %r9, 10;
    setp.le.s32 %p1, %r9, %r6;
    @%p1 bra $LOOP;
    """
    found = run("mul.lo.s32 %r6, %r4, 15;" + body + STORE, programs=4)
    assert found[:, 0].tolist() == [10, 20, 40, 50]
    assert (found == found[:, :1]).all()


def test_a_branch_that_divides_a_warp() -> None:
    fails(Diverged, "different ways", "setp.lt.s32 %p1, %r2, 5; @%p1 bra $END;")


def test_a_kernel_that_does_not_end() -> None:
    with pytest.raises(Undefined, match="has not ended after 100 instructions"):
        run("$LOOP: bra $LOOP;", limit=100)


def test_vectors_are_packed_and_unpacked() -> None:
    body = "mov.b64 %rd5, {%r2, %r1}; mov.b64 {_, %r9}, %rd5; mov.b64 {%r8, _}, %rd5; add.s32 %r9, %r9, %r8;" + STORE
    assert run(body, number=1000)[0].tolist() == list(range(1000, 1032))
    body = "mad.wide.u32 %rd3, %r2, 8, %rd1; setp.lt.s32 %p1, %r2, 16; @%p1 st.global.v2.b32 [%rd3], {%r2, %r1};"
    assert run(body, number=7)[0].view(16, 2).tolist() == [[i, 7] for i in range(16)]


@pytest.mark.parametrize(
    ("how", "b", "c", "expected"),
    [
        ("bfly", 1, 31, lambda lane: lane ^ 1),
        ("up", 1, 0, lambda lane: max(lane - 1, 0)),
        ("down", 3, 31, lambda lane: lane + 3 if lane + 3 < 32 else lane),
        ("idx", 5, 31, lambda lane: 5),
        ("idx", 37, 31, lambda lane: 5),  # only five bits count
        # segments of 8 lanes: mask 0b11000 in bits 8 to 12 of c
        ("up", 1, 0x1800, lambda lane: lane - 1 if lane % 8 else lane),
        ("down", 1, 0x181F, lambda lane: lane + 1 if lane % 8 < 7 else lane),
        ("idx", 2, 0x181F, lambda lane: lane // 8 * 8 + 2),
        ("bfly", 8, 0x181F, lambda lane: lane ^ 8 if lane ^ 8 <= lane // 8 * 8 + 7 else lane),
    ],
)
def test_shuffles(how: str, b: int, c: int, expected) -> None:  # type: ignore[no-untyped-def]
    found = run(f"shfl.sync.{how}.b32 %r9, %r2, {b}, {c}, -1;" + STORE, threads=64)
    assert found[0].tolist() == [32 * warp + expected(lane) for warp in (0, 1) for lane in range(32)]


def test_a_shuffle_of_a_part_of_a_warp() -> None:
    body = "setp.lt.s32 %p1, %r2, 5; mov.u32 %r9, 0; @%p1 shfl.sync.bfly.b32 %r9, %r2, 1, 31, -1;"
    fails(Undefined, "lanes that take no part", body)
    fails(UnknownInstruction, "part of a warp", "shfl.sync.bfly.b32 %r9, %r2, 1, 31, 15;")


def test_what_was_never_written() -> None:
    some = "setp.lt.s32 %p1, %r2, 5; @%p1 mov.u32 %r9, 1; add.s32 %r9, %r9, 1;"
    fails(Undefined, "%r8 is read but was never written", "add.s32 %r9, %r8, 1;")
    fails(Undefined, "what is stored depends on a register that was never written", some + STORE)
    fails(Undefined, "a guard depends", some + "setp.eq.s32 %p2, %r9, 2; @%p2 bra $END;")
    fails(Undefined, "an address depends", some + "mad.wide.u32 %rd3, %r9, 4, %rd1; ld.global.b32 %r8, [%rd3];")
    body = some + "shfl.sync.idx.b32 %r9, %r9, 9, 31, -1;" + STORE
    fails(Undefined, "what is stored depends", body)
    fails(Undefined, "the lane of a shuffle depends", some + "shfl.sync.idx.b32 %r8, %r2, %r9, 31, -1;")
    # allowed: a value that is overwritten, not chosen, or used only where it was written
    assert run(some + "mov.u32 %r9, 3;" + STORE).unique().tolist() == [3]
    assert run(some + "selp.b32 %r9, %r9, 4, %p1;" + STORE)[0].tolist() == [2] * 5 + [4] * 27
    assert run(some + "@%p1 " + STORE)[0].tolist() == [2] * 5 + [-1] * 27
    assert run(some + "@!%p1 mov.u32 %r9, 6;" + STORE)[0].tolist() == [2] * 5 + [6] * 27
    assert run(some + "shfl.sync.idx.b32 %r9, %r9, 2, 31, -1;" + STORE).unique().tolist() == [2]


SHARED = """
shl.b32 %r6, %r2, 2;
mov.b32 %r7, global_smem;
add.s32 %r7, %r7, %r6;
st.shared.b32 [%r7], %r2;
{barrier}
xor.b32 %r8, %r6, {other};
ld.shared.b32 %r9, [%r8];
"""


def test_shared_memory_and_barriers() -> None:
    for barrier, other, ordered in (
        ("", 4, False),
        ("bar.warp.sync -1;", 4, True),
        ("bar.warp.sync -1;", 128, False),
        ("bar.sync 0;", 128, True),
    ):
        body = SHARED.format(barrier=barrier, other=other) + STORE
        if ordered:
            found = run(body, threads=64, programs=2, shared=256)
            assert found.tolist() == [[thread ^ other // 4 for thread in range(64)]] * 2
        else:
            fails(Race, "another thread has written", body, threads=64, shared=256)


def test_barriers_of_other_programs_do_not_count() -> None:
    """The second program skips the barrier, after the first has passed it."""
    body = "setp.eq.s32 %p1, %r4, 1; @%p1 bra $THERE; bar.sync 0; $THERE:" + SHARED.format(barrier="", other=128)
    fails(Race, "another thread has written", body, threads=64, programs=2, shared=256)


def test_shared_memory_has_an_end() -> None:
    fails(Undefined, "outside of the 124 bytes", SHARED.format(barrier="bar.sync 0;", other=0), shared=124)
    fails(Undefined, "never written", "mov.b32 %r7, 0; ld.shared.b32 %r9, [%r7];", shared=4)


def test_matrices() -> None:
    """The first lanes have the addresses of rows of 16 bytes. Each lane stores a word of a row, and loads it again."""
    body = """
    shl.b32 %r6, %r2, 4;
    stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r6], {%r2};
    bar.warp.sync -1;
    ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r8}, [%r6];
    shl.b32 %r7, %r2, 2;
    ld.shared.b32 %r9, [%r7];
    mul.lo.s32 %r8, %r8, 100;
    add.s32 %r9, %r9, %r8;
    """
    assert run(body + STORE, shared=512)[0].tolist() == [101 * i for i in range(32)]
    fails(Undefined, "aligned to 16 bytes", body.replace("%r2, 4", "%r2, 3"), shared=512)
    twice = """
    shl.b32 %r6, %r2, 4;
    and.b32 %r6, %r6, 127;
    add.s32 %r8, %r2, 100;
    stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r6], {%r2, %r8};
    """
    fails(Race, "different values to one word", twice, shared=512)


def test_races_between_programs() -> None:
    fails(Race, "several programs write one word", "st.global.b32 [%rd1], %r1;", programs=2)
    body = "mov.u32 %r9, 1; setp.eq.s32 %p1, %r4, 0; @%p1 bra $THERE; ld.global.b32 %r9, [%rd1]; bra $END; $THERE: "
    body += STORE
    fails(Race, "another thread has", body, programs=2)
    assert run("st.global.b32 [%rd1], %r1;", number=3)[0, :2].tolist() == [3, -1]  # equal values


def test_all_threads_read_what_none_says_who_reads() -> None:
    one = "setp.eq.s32 %p1, %r2, 0; @%p1 st.global.b32 [%rd1], %r1;"
    fails(Race, "another thread has written", one + "ld.global.b32 %r9, [%rd1];")
    fails(Race, "another thread has read", "ld.global.b32 %r9, [%rd1];" + one)


def test_addresses() -> None:
    fails(Undefined, "outside of every tensor", "st.global.b32 [%rd2+4], %r1;")
    fails(Undefined, "not aligned to 8 bytes", "st.global.v2.b32 [%rd2], {%r1, %r2};")
    fails(Undefined, "not aligned to 4 bytes", "ld.global.b32 %r9, [%rd2+2];")
    fails(Undefined, "outside of every tensor", "mov.b64 %rd3, 0; ld.global.b32 %r9, [%rd3];")


def test_what_the_machine_does_not_know_names_itself_and_its_line() -> None:
    line = HEAD[: HEAD.index("{body}")].count("\n") + 1
    for body in ("add.sat.s32 %r9, %r2, 1;", "atom.global.add.u32 %r9, [%rd1], 1;", "ld.global.nc.b32 %r9, [%rd1];"):
        with pytest.raises(UnknownInstruction, match=f"does not know '{body.split()[0]}'") as found:
            run(body)
        assert found.value.__notes__ == [f"in kernel, line {line}: {body[:-1]}"]
    fails(UnknownInstruction, "takes 2 operands; got 1", "add.s32 %r9, %r2;")
    fails(UnknownInstruction, "does not know 'nowhere'", "mov.u64 %rd9, nowhere;")
    fails(UnknownInstruction, "part of the threads", "bar.sync 1;")
    fails(UnknownInstruction, "v2 of 1 operands", "ld.global.v2.b32 %r9, [%rd1];")
    fails(UnknownInstruction, "%tid.x is written", "mov.u32 %tid.x, 5;")


def test_widths_must_agree() -> None:
    fails(TypeError, "%r2 holds uint32, not f64", "add.rn.f64 %rd9, %r2, %r2;")
    assert run("mov.b64 %rd9, 0x100000007; cvt.s64.s32 %rd9, %rd9; cvt.u32.u64 %r9, %rd9;" + STORE)[0, 0] == 7
    fails(TypeError, "%rd1 holds uint64, not s32", "add.s32 %r9, %rd1, 1;")
    fails(TypeError, "0x100000005 is not a valid s32", "add.s32 %r9, %r2, 0x100000005;")
    fails(TypeError, "is not a valid f64", "add.rn.f64 %rd9, %rd1, 0f3F800000;")
    fails(TypeError, "some threads write", "setp.eq.s32 %p1, %r2, 0; @%p1 mov.b64 %r9, 1; @%p1 mov.b32 %r9, 1;")


def test_nothing_is_changed_by_a_kernel_that_fails() -> None:
    out, tensors = torch.zeros(32, dtype=torch.int32), Tensors()
    kernel = parse(HEAD.format(body=STORE.replace("%r9", "%r1") + "bad.b32 %r1;", threads=32))
    with pytest.raises(UnknownInstruction):
        Machine(kernel, (1,), [tensors.add(out), 7], tensors).run()
    assert out.tolist() == [0] * 32


def test_arguments_have_the_width_of_their_parameters() -> None:
    assert run("mov.u32 %r9, %r1;" + STORE, number=-5)[0, 0] == -5
    assert run("mov.u32 %r9, %r1;" + STORE, number=2**40 + 5)[0, 0] == 5

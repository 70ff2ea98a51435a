"""Facts of the PTX ISA about single instructions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ptx import Array
from ptx.arithmetic import OPERATIONS, dtype, operation
from ptx.faults import Undefined, UnknownInstruction
from ptx.floats import ieee_754


def bits(value: float | int, kind: str) -> Array:
    """Return a value as a register of a type. The value is a number for a float type, and bits for any other type."""
    if kind == "pred":
        return np.array([bool(value)])
    if kind[0] == "f":
        return np.array([value], dtype(kind))
    return np.array([int(value) & ((1 << int(kind[1:])) - 1)], f"u{int(kind[1:]) // 8}").view(dtype(kind))


def result(opcode: str, *values: float | int) -> Any:
    """Return the result of an instruction for numbers: a number, or the bits if its type is a b-type."""
    found = operation(opcode)
    with ieee_754():
        computed = found.compute(*(bits(value, kind) for value, kind in zip(values, found.sources, strict=True)))
    assert np.asarray(computed).dtype == dtype(found.result), opcode
    return np.asarray(computed).reshape(-1)[0].item()


MOST, LEAST = 2**31 - 1, -(2**31)
INFINITY, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("opcode", "values", "expected"),
    [
        # integers wrap around; a product has its low, its high or all bits
        ("add.s32", (MOST, 1), LEAST),
        ("sub.u32", (0, 1), 2**32 - 1),
        ("mul.lo.s32", (2**20, 2**20), 0),
        ("mul.hi.u32", (2**31, 6), 3),
        ("mul.hi.s32", (-1, 1), -1),
        ("mul.wide.s32", (LEAST, 2), -(2**32)),
        ("mul.wide.u32", (2**32 - 1, 2**32 - 1), (2**32 - 1) ** 2),
        ("mad.lo.s32", (3, -4, 5), -7),
        ("mad.wide.s32", (-1, 4, 2**40), 2**40 - 4),
        # division rounds towards zero, and a remainder has the sign of the dividend
        ("div.s32", (-7, 2), -3),
        ("div.s32", (7, -2), -3),
        ("rem.s32", (-7, 2), -1),
        ("div.u32", (2**32 - 1, 2), 2**31 - 1),
        ("rem.u32", (7, 4), 3),
        # a shift by the width or more moves all bits out; of a signed type the sign stays
        ("shl.b32", (1, 31), 2**31),
        ("shl.b32", (1, 32), 0),
        ("shl.b64", (1, 2**32 - 1), 0),
        ("shr.u32", (2**31, 31), 1),
        ("shr.u32", (2**31, 32), 0),
        ("shr.s32", (LEAST, 4), -(2**27)),
        ("shr.s32", (LEAST, 99), -1),
        ("shr.s32", (MOST, 99), 0),
        ("shl.b16", (3, 15), 2**15),
        # a field of bits: unsigned, signed, empty, and past the end of the register
        ("bfe.u32", (0xABCD1234, 8, 8), 0x12),
        ("bfe.s32", (0x0000F000, 12, 4), -1),
        ("bfe.s32", (0x00007000, 12, 4), 7),
        ("bfe.u32", (0xFFFFFFFF, 5, 0), 0),
        ("bfe.s32", (0xFFFFFFFF, 5, 0), 0),
        ("bfe.u32", (0xF0000000, 28, 20), 0xF),
        ("bfe.s32", (0x70000000, 28, 20), 7),
        ("bfe.s32", (0x80000000, 31, 1), -1),
        ("bfe.u32", (0x12345678, 0, 32), 0x12345678),
        ("bfe.s32", (0x80000000, 40, 4), -1),
        ("bfe.u32", (0x80000000, 40, 4), 0),
        ("bfe.u32", (0x12345678, 256, 264), 0x78),  # only eight bits of position and length count
        # bytes are numbered from 0, the lowest of a, to 7, the highest of b; 8 more asks for the sign only
        ("prmt.b32", (0x33221100, 0x77665544, 0x3210), 0x33221100),
        ("prmt.b32", (0x33221100, 0x77665544, 0x7654), 0x77665544),
        ("prmt.b32", (0x33221100, 0x77665544, 0x0426), 0x00442266),
        ("prmt.b32", (0x00008000, 0, 0x0009), 0x000000FF),
        ("prmt.b32", (0x00007F00, 0, 0x0009), 0x00000000),
        ("not.b32", (0,), 2**32 - 1),
        ("xor.pred", (1, 1), False),
        ("neg.s32", (LEAST,), LEAST),
        ("abs.s32", (-5,), 5),
        ("min.s32", (-1, 1), -1),
        ("min.u32", (-1, 1), 1),
        # floats: ties to even; zeros and NaN
        ("add.rn.f32", (2.0**24, 1.0), 2.0**24),
        ("add.rn.f32", (2.0**24 + 2, 1.0), 2.0**24 + 4),
        ("mul.rn.f32", (2.0**-100, 2.0**-49), 2.0**-149),  # subnormals are kept
        ("div.rn.f32", (1.0, 0.0), INFINITY),
        ("sqrt.rn.f32", (2.0,), float(np.sqrt(np.float32(2)))),
        ("max.f32", (NAN, 1.0), 1.0),
        ("min.f32", (1.0, NAN), 1.0),
        ("neg.f32", (1.5,), -1.5),
        ("abs.f32", (-INFINITY,), INFINITY),
        # comparisons with NaN are false; those with a u are true
        ("setp.lt.f32", (NAN, 1.0), False),
        ("setp.ne.f32", (NAN, NAN), False),
        ("setp.neu.f32", (NAN, NAN), True),
        ("setp.geu.f32", (NAN, 1.0), True),
        ("setp.ltu.f32", (2.0, 1.0), False),
        ("setp.num.f32", (1.0, NAN), False),
        ("setp.nan.f32", (1.0, NAN), True),
        ("setp.eq.f32", (0.0, -0.0), True),
        ("setp.lt.s32", (-1, 0), True),
        ("setp.lt.u32", (-1, 0), False),
        ("setp.lt.and.s32", (-1, 0, 0), False),
        ("setp.gt.or.s32", (-1, 0, 1), True),
        ("selp.b32", (1, 2, 1), 1),
        ("selp.f32", (1.0, 2.0, 0), 2.0),
        # conversions truncate or sign-extend integers and clamp floats; NaN gives 0, or the top bit with a 64-bit type
        ("cvt.u32.u64", (2**40 + 7,), 7),
        ("cvt.s64.s32", (-1,), -1),
        ("cvt.u64.u32", (-1,), 2**32 - 1),
        ("cvt.u16.u32", (0x12345,), 0x2345),
        ("cvt.rn.f32.s32", (2**24 + 1,), 2.0**24),
        ("cvt.rn.f32.s32", (2**24 + 3,), 2.0**24 + 4),
        ("cvt.rn.f32.u32", (2**32 - 1,), 2.0**32),
        ("cvt.rn.f32.u64", (2**64 - 1,), 2.0**64),
        ("cvt.rn.f32.f64", (1 + 2.0**-24,), 1.0),
        ("cvt.rn.f32.f64", (1e300,), INFINITY),
        ("cvt.rzi.s32.f32", (-1.9,), -1),
        ("cvt.rzi.s32.f32", (3e9,), MOST),
        ("cvt.rzi.s32.f32", (-INFINITY,), LEAST),
        ("cvt.rzi.u32.f32", (-5.0,), 0),
        ("cvt.rzi.s32.f32", (NAN,), 0),
        ("cvt.rzi.s64.f32", (NAN,), -(2**63)),
        ("cvt.rzi.s32.f64", (NAN,), LEAST),
        ("cvt.rzi.u32.f64", (NAN,), 2**31),
        ("cvt.rzi.s64.f32", (1e30,), 2**63 - 1),
        ("cvt.rzi.u64.f32", (1e30,), 2**64 - 1),
    ],
)
def test_facts(opcode: str, values: tuple[float, ...], expected: float | int | bool) -> None:
    assert result(opcode, *values) == expected


@pytest.mark.parametrize(
    ("opcode", "values"),
    [
        ("mul.rn.f32", (0.0, INFINITY)),
        ("add.rn.f32", (NAN, 1.0)),
        ("sqrt.rn.f32", (-1.0,)),
        ("rsqrt.approx.ftz.f32", (-1.0,)),
        ("fma.rn.f32", (0.0, INFINITY, 1.0)),
        ("cvt.rn.f32.f64", (NAN,)),
        ("max.f32", (NAN, NAN)),
    ],
)
def test_operations_give_one_nan(opcode: str, values: tuple[float, ...]) -> None:
    found = operation(opcode)
    with ieee_754():
        nan = found.compute(*(bits(value, kind) for value, kind in zip(values, found.sources, strict=True)))
    assert nan.view("u4").item() == 0x7FFFFFFF


def test_a_nan_that_is_asked_for() -> None:
    for opcode in ("min.NaN.f32", "max.NaN.f32"):
        for values in ((NAN, 1.0), (1.0, NAN), (NAN, NAN)):
            found = operation(opcode).compute(*(bits(value, "f32") for value in values))
            assert found.view("u4").item() == 0x7FFFFFFF  # the NaN that other operations give
        assert result(opcode, 1.0, 1.0) == 1.0


@pytest.mark.parametrize(("opcode", "sign"), [("max.f32", 1), ("min.f32", -1), ("max.NaN.f32", 1), ("min.NaN.f32", -1)])
def test_plus_zero_is_more_than_minus_zero(opcode: str, sign: int) -> None:
    for values in ((0.0, -0.0), (-0.0, 0.0)):
        assert np.copysign(1, result(opcode, *values)) == sign


def rounded(exact: Fraction, digits: int, least: int) -> Fraction:
    """Round to `digits` binary digits, ties to even, with no digit below 2^least."""
    if exact == 0:
        return exact
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, least)
    return round(exact / unit) * unit  # Python rounds ties to even


def awkward(kind: str, count: int) -> list[Array]:
    """Return operands a, b, c for which a b + c is halfway between two numbers, cancels, or is subnormal."""
    generator = np.random.default_rng(7)
    digits, low = (24, -149) if kind == "f32" else (53, -1074)
    exponents = generator.integers(-3, 3, (3, count))
    a, b = (1 + generator.integers(0, 2 ** (digits - 1), (2, count)) / 2 ** (digits - 1)) * 2.0 ** exponents[:2]
    a[::2], b[::2] = (np.round(x[::2] * 64) / 64 for x in (a, b))
    c = -(a * b) * np.where(generator.random(count) < 0.5, 1, 2.0**-digits) * generator.choice([-1, 1, 0.5, 1.5], count)
    small = generator.random(count) < 0.3
    a, c = (np.where(small, x * 2.0 ** (low + digits + exponents[2]), x) for x in (a, c))
    return [x.astype(dtype(kind)) for x in (a, b, c)]


@pytest.mark.parametrize(("kind", "digits", "least"), [("f32", 24, -149), ("f64", 53, -1074)])
def test_a_fused_multiply_add_is_rounded_once(kind: str, digits: int, least: int) -> None:
    with ieee_754():
        a, b, c = awkward(kind, 3000)
        fused = operation(f"fma.rn.{kind}").compute(a, b, c)
    for x, y, z, value in zip(a, b, c, fused, strict=True):
        assert Fraction(float(value)) == rounded(
            Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), digits, least
        )
    assert (fused != a * b + c).mean() > 0.1  # two roundings often give another result


def test_a_fused_multiply_add_of_special_values() -> None:
    assert result("fma.rn.f32", 2.0**127, 4.0, -(2.0**127)) == INFINITY
    assert result("fma.rn.f32", 2.0**100, 2.0**100, -INFINITY) == -INFINITY
    assert np.isnan(result("fma.rn.f32", 0.0, INFINITY, 1.0))
    assert np.copysign(1, result("fma.rn.f32", 1.0, -0.0, -0.0)) == -1


def test_what_is_undefined_or_unknown() -> None:
    with pytest.raises(Undefined, match="divided by zero"):
        result("div.s32", 1, 0)
    for opcode in ("add.sat.s32", "fma.rz.f32", "sin.approx.f32", "mul.f16", "sqrt.approx.f32"):
        with pytest.raises(UnknownInstruction, match=f"does not know '{opcode}'"):
            operation(opcode)


def test_results_have_the_types_that_they_say() -> None:
    for opcode, known in OPERATIONS.items():
        operands = [np.ones((1, 1), dtype(kind)) for kind in known.sources]
        assert np.asarray(known.compute(*operands)).dtype == dtype(known.result), opcode

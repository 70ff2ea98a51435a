"""Approximate instructions are as far off as their specification allows, and never further."""

from collections.abc import Callable

import numpy as np
import pytest

from ptx import Array, approximations
from ptx.approximations import TABLE
from ptx.floats import ieee_754

X = np.random.default_rng(1).uniform(0.01, 80, 5000).astype("f4")
EXACT: dict[str, tuple[Callable[[Array], Array], float]] = {
    "sqrt.approx.ftz.f32": (np.sqrt, 2.0**-23),
    "rsqrt.approx.ftz.f32": (lambda x: 1 / np.sqrt(x), 2.0**-22.9),
}


@pytest.mark.parametrize("opcode", EXACT)
@pytest.mark.parametrize("direction", ["up", "down", "mixed"])
def test_relative_errors(opcode: str, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximations, "direction", direction)
    function, allowed = EXACT[opcode]
    exact = function(X.astype("f8"))
    error = TABLE[opcode](X) / exact - 1
    assert np.abs(error).max() <= allowed
    assert np.abs(error).max() > 0.9 * allowed
    assert {"up": (error > 0).all(), "down": (error < 0).all(), "mixed": 0.4 < (error > 0).mean() < 0.6}[direction]


@pytest.mark.parametrize(("direction", "units"), [("up", 2), ("down", -2), ("exact", 0)])
def test_errors_in_units(direction: str, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximations, "direction", direction)
    for opcode, operands in (("ex2.approx.ftz.f32", (-X,)), ("div.full.f32", (np.ones_like(X), X))):
        exact = {1: np.exp2, 2: np.divide}[len(operands)](*(x.astype("f8") for x in operands)).astype("f4")
        assert (TABLE[opcode](*operands).view("i4") - exact.view("i4") == units).all(), opcode


def test_special_values_are_exact() -> None:
    infinity, nan = np.inf, np.nan
    x = np.array([0.0, -0.0, infinity, -infinity, -1.0, nan, 1e-40, -200.0], "f4")
    expected: dict[str, list[float | None]] = {
        "sqrt.approx.ftz.f32": [0.0, -0.0, infinity, nan, nan, nan, 0.0, nan],
        "rsqrt.approx.ftz.f32": [infinity, -infinity, 0.0, nan, nan, nan, infinity, nan],
        "ex2.approx.ftz.f32": [1.0, 1.0, infinity, 0.0, None, nan, 1.0, 0.0],
    }
    for opcode, values in expected.items():
        with ieee_754():
            found = TABLE[opcode](x)
        for value, wanted in zip(found.tolist(), values, strict=True):
            assert wanted is None or repr(value) == repr(wanted), (opcode, found)

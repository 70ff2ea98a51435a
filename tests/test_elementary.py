"""kernels.vectorized.elementary against float64: errors in units in the last place (ulp) over the stated domains."""

from collections.abc import Callable

import pytest
import torch
from oracle import ulps
from torch import Tensor

from kernels.vectorized import elementary

SMALLEST_NORMAL = 2.0**-126
LARGEST = torch.finfo(torch.float32).max


def spread(low: float, high: float) -> Tensor:
    """Return every 2001st float32 from `low` to `high`, inclusive: all exponents, and no pattern in the fractions."""
    first, last = (int(torch.tensor(float(v)).view(torch.int32)) for v in (low, high))
    return (
        torch.cat((torch.arange(first, last, 2001, dtype=torch.int32), torch.tensor([last]))).int().view(torch.float32)
    )


def log(x: Tensor) -> Tensor:
    return elementary.reciprocal_and_log(x)[1]


def reciprocal(x: Tensor) -> Tensor:
    return elementary.reciprocal_and_log(x)[0]


# The coefficients cost a tenth of an ulp. The rest are roundings on the way: in reciprocal_and_log one each for the
# shared denominator, its reciprocal and two products.
@pytest.mark.parametrize(
    ("function", "exact", "x", "most"),
    [
        (lambda x: elementary.log_fraction(*elementary.split_exponent(x)), torch.log, spread(0.7, 1.42), 2),
        (log, torch.log, spread(SMALLEST_NORMAL, 2.0**126), 3),
        # around 1, where log passes through zero, and across the border of the split at sqrt(1/2)
        (log, torch.log, spread(0.7, 1.42), 3),
        # 1 / x of larger x is subnormal
        (reciprocal, torch.reciprocal, spread(SMALLEST_NORMAL, 2.0**126), 3),
        (elementary.log1p_unit, torch.log1p, spread(SMALLEST_NORMAL, 1), 2),
        (elementary.exp_negative, lambda x: torch.exp(-x), spread(SMALLEST_NORMAL, 87), 2),
    ],
    ids=["log_fraction", "log", "log-near-1", "reciprocal", "log1p_unit", "exp_negative"],
)
def test_error(function: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor], x: Tensor, most: float) -> None:
    value = function(x)
    assert value.dtype == torch.float32
    assert ulps(value, exact(x.double()).numpy()) <= most


def test_exact_where_it_must_be() -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    assert log(one) == 0
    assert elementary.log1p_unit(zero) == 0
    assert elementary.exp_negative(zero) == 1


def test_exp_negative_stays_at_its_smallest_value() -> None:
    far = torch.tensor([87.0, 88.0, 1e4, LARGEST, torch.inf])
    assert torch.all(elementary.exp_negative(far) == elementary.exp_negative(far[:1]))
    assert elementary.exp_negative(far[:1]) > 0


def test_split_exponent_is_exact() -> None:
    x = spread(SMALLEST_NORMAL, LARGEST)
    f, exponent = elementary.split_exponent(x)
    assert torch.equal((1 + f.double()) * torch.exp2(exponent.double()), x.double())
    assert float((1 + f).min()) >= 0.5**0.5 - 1e-7
    assert float((1 + f).max()) < 2**0.5

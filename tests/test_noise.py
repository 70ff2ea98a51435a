# mypy: disable-error-code="arg-type"
"""The noise stream: the right words, the right normals, and no two of them correlated."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracle import ALL, BACKENDS, device, ulps
from scipy.stats import kstest
from torch import Tensor

from kernels import noise
from kernels.constants import signed
from kernels.reference import noise as reference
from kernels.reverse_step import reverse_step
from kernels.vectorized import noise as vectorized

MASK = 0xFFFFFFFF

# Random123, tests/kat_vectors, philox4x32 with 10 rounds: counter, key, words
PUBLISHED = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def reference_words(counter: list[int], key: list[int]) -> list[int]:
    words = reference.philox(tuple(torch.tensor([c]) for c in counter), tuple(key))
    return [int(word) for word in words]


def vectorized_words(counter: list[int], key: list[int]) -> list[int]:
    c, k = (tuple(torch.tensor([signed(v)], dtype=torch.int32) for v in values) for values in (counter, key))
    return [int(word) & MASK for word in vectorized.philox(c, k)]


def plain_words(counter: list[int], key: list[int]) -> list[int]:
    """Compute Philox4x32-10 on Python's integers, written from the paper and not from the project's code."""
    a, b, c, d = counter
    for i in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        low, high = (key[0] + i * 0x9E3779B9) & MASK, (key[1] + i * 0xBB67AE85) & MASK
        a, b, c, d = (q >> 32) ^ b ^ low, q & MASK, (p >> 32) ^ d ^ high, p & MASK
    return [a, b, c, d]


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
@pytest.mark.parametrize("philox", [reference_words, vectorized_words, plain_words])
def test_published_words(
    philox: Callable[[list[int], list[int]], list[int]], counter: str, key: str, words: str
) -> None:
    counter_, key_, words_ = ([int(word, 16) for word in text.split()] for text in (counter, key, words))
    assert philox(counter_, key_) == words_


@pytest.mark.parametrize("philox", [reference_words, vectorized_words])
def test_words_of_random_counters(philox: Callable[[list[int], list[int]], list[int]]) -> None:
    drawn = np.random.default_rng(0).integers(0, 2**32, size=(200, 6)).tolist()
    for *counter, k0, k1 in drawn:
        assert philox(counter, [k0, k1]) == plain_words(counter, [k0, k1])


@pytest.mark.triton
def test_words_in_triton() -> None:
    from triton_functions import words_kernel  # not at the top, because Triton may be missing

    published = [[int(word, 16) for word in f"{counter} {key}".split()] for counter, key, _ in PUBLISHED]
    numbers = published + np.random.default_rng(0).integers(0, 2**32, size=(253, 6)).tolist()
    words = torch.empty(4, 256, dtype=torch.int64, device=device("triton"))
    words_kernel[(1,)](torch.tensor(numbers, device=device("triton")).T.contiguous(), words, SIZE=256)
    assert words.T.tolist() == [plain_words(counter, key) for *counter, key0, key1 in numbers for key in [[key0, key1]]]


def exact_four(counter: list[int], seed: int) -> np.ndarray:
    """Return the normals of a counter, computed with Python's integers and NumPy's float64."""
    words = np.array(plain_words(counter, [seed & MASK, (seed >> 32) & MASK]), dtype=np.float64)
    radius = np.sqrt(-2 * np.log((words[::2] + 0.5) / 2**32))
    angle = 2 * np.pi * words[1::2] / 2**32
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).ravel()


def exact_normals(count: int, dim: int, steps: int, *, seed: int, step: int, first: int, stream: int) -> np.ndarray:
    """Return normals [steps, count, dim], computed counter by counter, as the stream is defined."""
    out = np.empty((steps, count, dim))
    for n, d, k in itertools.product(range(first, first + count), range(dim), range(-(-steps // 4))):
        four = exact_four([n % 2**32, n // 2**32 * 2**16 + k, step, stream << 24 | d], seed)
        out[4 * k : 4 * k + 4, n - first, d] = four[: steps - 4 * k]
    return out


# The reference rounds once. The others round in the logarithm, the root, the angle, the polynomial and the product.
ULPS = [
    ("reference", 0.5001),
    ("vectorized", 6),
    ("compiled", 6),
    ("native", 6),
    pytest.param("triton", 6, marks=pytest.mark.triton),
]


@pytest.mark.parametrize(("backend", "most"), ULPS)
@pytest.mark.parametrize(
    "place",
    [
        {"seed": 0, "step": 0, "first": 0, "stream": noise.FORWARD},
        {"seed": 2**63 + 12345678901, "step": 999, "first": 1020, "stream": noise.REVERSE},
        {"seed": -1, "step": 2**32 - 1, "first": 2**32 - 40, "stream": noise.DATA},
        {"seed": 5, "step": 7, "first": 2**40 - 2, "stream": noise.DRAWS},
    ],
)
@pytest.mark.parametrize(("count", "dim", "steps"), [(1, 1, 1), (40, 3, 37), (3, 5, 250)])
def test_normals(backend: str, most: float, place: dict[str, int], count: int, dim: int, steps: int) -> None:
    value = noise.normal(count, dim, steps, backend=backend, device=device(backend), **place).cpu()
    assert value.dtype == torch.float32
    assert value.shape == (steps, count, dim)
    assert ulps(value, exact_normals(count, dim, steps, **place)) <= most


# a sample, a step, and the two words of the counter that encode them, computed by hand
BEYOND = [
    (2**32 - 1, 1, 0xFFFFFFFF, 0x00000000),
    (2**32, 4, 0x00000000, 0x00010000),
    (2**32 + 5, 5, 0x00000005, 0x00010001),
    (2**40 + 1, 16, 0x00000001, 0x01000003),
    (2**48 - 1, 1, 0xFFFFFFFF, 0xFFFF0000),
    (7, 2**18, 0x00000007, 0x0000FFFF),
    (2**48 - 1, 2**18, 0xFFFFFFFF, 0xFFFFFFFF),
]


@pytest.mark.parametrize(("backend", "most"), ULPS)
@pytest.mark.parametrize(("sample", "t", "low", "high"), BEYOND)
def test_an_index_has_48_bits(backend: str, most: float, sample: int, t: int, low: int, high: int) -> None:
    seed, place = 2**35 + 3, {"backend": backend, "first": sample}
    four = exact_four([low, high, 0, noise.REVERSE << 24], seed)
    mean, std = torch.zeros(1, 1, device=device(backend)), torch.ones(1, 1, device=device(backend))
    assert ulps(reverse_step(mean, std, t, seed=seed, **place).cpu()[0], four[(t - 1) % 4, None]) <= most
    if t <= 16:
        found = noise.normal(1, 1, t, seed=seed, stream=noise.REVERSE, device=device(backend), **place)
        assert ulps(found.cpu()[-1, 0], four[(t - 1) % 4, None]) <= most


EXTREME_WORDS = [0, 1, 2, 255, 2**23, 2**24 + 1, 2**31 - 1, 2**31, 2**31 + 1, MASK - 2**24, MASK - 255, MASK - 1, MASK]


def test_radius_at_the_ends() -> None:
    word = torch.tensor([signed(w) for w in EXTREME_WORDS], dtype=torch.int32)
    # the complement (2^32 - w - 1/2) is exact, so log1p keeps every digit where 1 - u is tiny
    exact = np.sqrt([-2 * np.log1p(-(2**32 - w - 0.5) / 2**32) for w in EXTREME_WORDS])
    radius = vectorized.radius(word)
    assert ulps(radius, exact) <= 4
    assert float(radius[0]) == pytest.approx(6.76, abs=0.005)  # sqrt(-2 log 2^-33): beyond 6.6 standard deviations
    assert 0 < float(radius[-1]) < 2e-5


def test_angle_at_the_ends_and_between_quadrants() -> None:
    borders = [(q * 2**29 + offset) & MASK for q in range(8) for offset in (-1, 0, 1, 12345)]
    word = torch.tensor([signed(w) for w in borders], dtype=torch.int32)
    quarters = np.array([w % 2**30 == 0 for w in borders])
    turns = np.array(borders, dtype=np.longdouble) * 2 * np.longdouble("3.14159265358979323846264338") / 2**32
    for value, exact in zip(vectorized.cos_sin(word), (np.cos(turns), np.sin(turns)), strict=True):
        exact = np.where(quarters, np.round(exact), exact).astype(np.float64)
        assert np.array_equal(value.double().numpy()[quarters], exact[quarters])
        assert ulps(value[torch.from_numpy(~quarters)], exact[~quarters]) <= 3


@pytest.fixture(scope="module", params=BACKENDS)
def million(request: pytest.FixtureRequest) -> np.ndarray:
    """Return a million normals, [steps, samples, dimensions] = [100, 2500, 4]."""
    return noise.normal(2500, 4, 100, seed=1, backend=request.param).double().numpy()


def test_moments(million: np.ndarray) -> None:
    # The mean of x^k over n normals has the standard error sqrt((E x^2k - (E x^k)^2) / n); 5 of them allow one seed in
    # two million to fail.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(million**power) - moment) < 5 * np.sqrt(variance / million.size)


def test_distribution(million: np.ndarray) -> None:
    assert kstest(million.ravel(), "norm").pvalue > 1e-3
    # each of the four places in a group comes from other words or from the other half of Box-Muller
    for place in range(4):
        assert kstest(million[place::4].ravel(), "norm").pvalue > 1e-3


def test_tails(million: np.ndarray) -> None:
    expected = million.size * 6.334e-5  # beyond 4 standard deviations
    assert abs(np.sum(np.abs(million) > 4) - expected) < 5 * np.sqrt(expected)


def assert_uncorrelated(x: np.ndarray, y: np.ndarray) -> None:
    """Check the numbers and their squares: if words are used twice, these share a radius or an angle."""
    for p, q in ((x, y), (x**2, y**2)):
        assert abs(np.corrcoef(p.ravel(), q.ravel())[0, 1]) < 5 / np.sqrt(x.size)


def test_neighbours_are_uncorrelated(million: np.ndarray) -> None:
    for lag in (1, 2, 3, 4):
        assert_uncorrelated(million[lag:], million[:-lag])
    assert_uncorrelated(million[:, 1:], million[:, :-1])
    assert_uncorrelated(million[:, :, 1:], million[:, :, :-1])


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"seed": 1 + 2**32}, {"step": 1}, {"stream": noise.REVERSE}, {"stream": noise.DATA}]
)
def test_other_places_are_uncorrelated(other: dict[str, int]) -> None:
    draw = {"seed": 1, "step": 0, "stream": noise.FORWARD, "backend": "vectorized"}
    x, y = (noise.normal(2500, 4, 20, **place).double().numpy() for place in (draw, draw | other))
    assert_uncorrelated(x, y)


@pytest.mark.parametrize("backend", ALL)
@pytest.mark.parametrize("start", [0, 2**32 - 500, 2**48 - 1100])
def test_first_shifts(backend: str, start: int) -> None:
    place = {"seed": 3, "backend": backend, "device": device(backend)}
    whole = noise.normal(1100, 2, 5, first=start, **place)
    for first in (1, 500, 1020, 1024):
        assert torch.equal(whole[:, first:], noise.normal(1100 - first, 2, 5, first=start + first, **place)), first
        assert torch.equal(whole[:, :first], noise.normal(first, 2, 5, first=start, **place)), first


@pytest.mark.parametrize("backend", ALL)
def test_place_in_the_stream(backend: str) -> None:
    def draw(**place: int | Tensor) -> Tensor:
        return noise.normal(20, 2, 6, backend=backend, device=device(backend), **place)

    step = 2**31 - 1
    for dtype in (torch.int64, torch.int32):
        assert torch.equal(draw(step=torch.tensor(step, dtype=dtype, device=device(backend))), draw(step=step))
    assert torch.equal(draw(seed=-5), draw(seed=2**64 - 5))  # the same 64 bits
    different = [draw(), draw(seed=1), draw(seed=2**32), draw(step=1), draw(stream=noise.REVERSE), draw(first=1)]
    different += [draw(first=2**32), draw(first=2**33), draw(first=2**47)]
    for x, y in itertools.combinations(different, 2):
        assert not torch.equal(x, y)


@pytest.mark.parametrize("backend", ALL)
def test_fewer_steps_or_dimensions_are_a_part_of_more(backend: str) -> None:
    place = {"backend": backend, "device": device(backend)}
    whole = noise.normal(20, 3, 300, **place)
    for dim, steps in ((1, 1), (2, 7), (3, 256)):
        assert torch.equal(whole[:steps, :, :dim], noise.normal(20, dim, steps, **place))


@pytest.mark.triton
def test_triton_names_what_it_takes() -> None:
    with pytest.raises(ValueError, match=r"takes at most 2147479552 elements .*; got 2147483648"):
        noise.normal(2**30, 2, backend="triton", device=device("triton"))


@pytest.mark.parametrize("backend", ALL)
def test_no_samples(backend: str) -> None:
    assert noise.normal(0, 2, 3, backend=backend, device=device(backend)).shape == (3, 0, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"count": -1}, ValueError, "count must be from 0"),
        ({"count": 2**48 + 1}, ValueError, "count must be from 0 to 281474976710656; got 281474976710657"),
        ({"count": 1.0}, TypeError, r"count must be an int; got 1\.0"),
        ({"dim": 0}, ValueError, "dim must be from 1"),
        ({"steps": 0}, ValueError, "steps must be from 1"),
        ({"steps": 2**18 + 1}, ValueError, "steps must be from 1 to 262144; got 262145"),
        ({"seed": 2**64}, ValueError, "seed must be from"),
        ({"seed": True}, TypeError, "seed must be an int; got True"),
        ({"step": -1}, ValueError, "step must be from 0"),
        ({"step": torch.zeros(1, dtype=torch.int64)}, TypeError, "step must be an int or a 0-d int tensor"),
        ({"step": torch.tensor(0.0)}, TypeError, "step must be an int or a 0-d int tensor"),
        ({"first": -1}, ValueError, "first must be from 0"),
        ({"first": 2**48 - 3}, ValueError, "first must be from 0 to 281474976710652; got 281474976710653"),
        ({"stream": 256}, ValueError, "stream must be from 0"),
        ({"backend": "cuda"}, ValueError, "backend must be one of .*; got 'cuda'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        noise.normal(**{"count": 4} | arguments)

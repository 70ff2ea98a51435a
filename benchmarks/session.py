"""The pytest plugin of a run: it chooses which rival is timed on which case and when, and checks the results.

Rivals are interleaved: all take their first turn at a case, then all take their second. Other work on a shared machine
then affects all of them. Each turn is a benchmark of pytest-benchmark. The report joins the turns.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks import ceiling, limits, measuring, rivals
from benchmarks.cases import Case, cases
from benchmarks.problem import Problem, error
from kernels.triton import sizes

HERE = Path(__file__).parents[1]  # removed from file names in errors
TURNS = {"tiny": 1, "short": 3, "full": 3}
SECONDS = 0.2  # of timing in each turn
PATIENCE = 4.0  # seconds: a slower call gets only one turn

# Relative to the largest element. With all steps at once, autograd adds up 250,000 float32 products in one matrix
# product. Its error is at most 250,000 * 2^-24 = 1.5e-2; 1.1e-3 was seen, for 128 hidden units, with torch and with JAX
# (step by step it is 4e-6). The tutorial's chain multiplies 4000 times by a rounded factor (2e-5). Leaving out one of
# 250 steps makes an error of 3e-3.
RIVALS_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Prepared:
    """A rival's work, checked and compiled."""

    run: Callable[[], Any]
    seconds: float
    notes: dict[str, Any]


@dataclass
class Session:
    """A run: its options, the work that it has prepared, and the gaps, which are cases without a measurement."""

    size: str
    ops: Sequence[str]
    names: Sequence[str]
    devices: Sequence[str]
    gaps: list[dict[str, Any]] = field(default_factory=list)
    prepared: dict[tuple[Case, str], Prepared] = field(default_factory=dict)

    def able(self, case: Case, function: str) -> list[str]:
        """Return the rivals that can be measured on a case. Record why the others cannot."""
        found = []
        for name in self.names:
            if rivals.missing(name) is None and not hasattr(rivals.load(name), function):
                continue
            reason = rivals.gap(name, case, self.size)
            if reason:
                self.gaps.append({"rival": name, "reason": reason, **asdict(case)})
            else:
                found.append(name)
        return found

    def plan(self, op: str) -> Iterator[tuple[Case, str, int | str]]:
        """Yield case, rival and turn in the order of measurement."""
        for case in (case for device in self.devices for case in cases(op, self.size, device)):
            whole = op == "tutorial"
            names = self.able(case, "train_and_sample" if whole else op)
            starts = ("warm",) if self.size == "tiny" else ("cold", "warm")
            for turn in starts if whole else range(TURNS[self.size]):
                yield from ((case, name, turn) for name in names)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        op = metafunc.module.__name__.rpartition("bench_")[2]
        plan = [pytest.param(*entry, id=" ".join(map(str, entry))) for entry in self.plan(op)] if op in self.ops else []
        metafunc.parametrize(("case", "name", "turn"), plan)

    @pytest.fixture(name="size")
    def fixture_size(self) -> str:
        return self.size

    @pytest.fixture
    def measure(self, benchmark: BenchmarkFixture, case: Case, name: str, turn: int) -> Callable[..., None]:
        """Return measure(noise, expected, tolerance), which checks the operation of the case and then times it.

        Args:
            noise: Problem -> the noise on which rivals are compared, a tuple of tensors.
            expected: `(Problem, *noise)` -> the result of the reference.
            tolerance: largest error allowed for this project's backends, relative to the largest element.
        """

        def measure(noise: Callable[..., Any], expected: Callable[..., Any], tolerance: float) -> None:
            if (case, name) not in self.prepared:
                if turn:
                    pytest.skip("failed at its first turn")
                self.prepared = {key: kept for key, kept in self.prepared.items() if key[0] == case}
                allowed = tolerance if name in rivals.BACKENDS else RIVALS_TOLERANCE
                try:
                    self.prepared[case, name] = prepare(case, name, noise, expected, allowed)
                except Exception as error:
                    said = f"failed: {error}".splitlines()[0].replace(f"{HERE}/", "")
                    self.gaps.append({"rival": name, "reason": said, **asdict(case)})
                    raise
            prepared = self.prepared[case, name]
            if turn and prepared.seconds > PATIENCE:
                pytest.skip("one turn of this length is enough")
            benchmark.group = str(case)
            benchmark.extra_info |= {"rival": name, "turn": turn, **asdict(case), **prepared.notes}
            rounds = max(1, min(50, int(SECONDS / prepared.seconds)))
            benchmark.pedantic(prepared.run, rounds=rounds, warmup_rounds=int(prepared.seconds < 1))

        return measure

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        machine_info |= measuring.machine()

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        output_json |= {"size": self.size, "gaps": self.gaps, "ceilings": self.ceilings}

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        def stop(*_: object) -> None:
            session.shouldstop = "interrupted: what is measured so far is kept"
            for number in (signal.SIGINT, signal.SIGTERM):  # a second signal stops at once
                signal.signal(number, signal.default_int_handler)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        self.ceilings = {device: ceiling.measure(device, self.size) for device in self.devices}


def prepare(
    case: Case, name: str, noise: Callable[..., Any], expected: Callable[..., Any], tolerance: float
) -> Prepared:
    """Call once to compile, compare with the reference, and call again to measure the time of a call."""
    run = measuring.waited_for(getattr(rivals.load(name), case.op)(Problem(case)).run, case.device)
    start = time.perf_counter()
    run()
    notes: dict[str, Any] = {"first_call_seconds": time.perf_counter() - start} | limits.of(case, name)

    checked = Problem(case).checked
    result = getattr(rivals.load(name), case.op)(checked).result
    if result is not None:
        on: tuple[Tensor, ...] = noise(checked)
        wanted = expected(checked, *on)  # first, because a training step changes the weights
        with mock.patch.object(sizes, "MANY", sizes.MANY if case.N < sizes.MANY else 1):  # the kernel that is timed
            notes["error"] = difference = error(result(*(eps.to(case.device) for eps in on)), wanted)
        assert difference <= tolerance, f"{name} is {difference:.1e} away from the reference, more than {tolerance}"

    notes["peak_extra_bytes"] = measuring.peak_extra_bytes(run, case.device)
    start = time.perf_counter()
    run()
    return Prepared(run, time.perf_counter() - start, notes)

# mypy: disable-error-code="arg-type,var-annotated,attr-defined,misc"
"""The C++ of `native`: the same bits from every build and for any number of threads; forks; sizes beyond the grid."""

import ctypes
import functools
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest
import torch
from torch import Tensor

import ddpm
from kernels import backends, noise
from kernels.forward_process import forward_process
from kernels.native import compilation
from kernels.native import library as libraries
from kernels.native.compilation import Compilation
from kernels.native.library import library
from kernels.networks import Layer, MLPPair
from kernels.place import Place
from kernels.reverse_process import reverse_process
from kernels.reverse_step import reverse_step
from kernels.transition_bound import transition_bound
from kernels.variational_bound import bound_and_gradients, variational_bound

TESTS = Path(__file__).parent


# ---- what every build must give, bit for bit

SIZES = [(1, 4, 100, 9), (1, 1, 5, 250), (2, 7, 17, 37), (5, 33, 67, 6), (3, 130, 2, 5)]  # D, H, N, T


@functools.cache  # cached: all Python threads draw initial weights from one generator of torch
def networks(dim: int, hidden: int, steps: int) -> list[MLPPair]:
    """Return a network with tables by step, and a deep one for each activation."""
    schedule = ddpm.Schedule(oracle.betas("linear", steps))
    made = [ddpm.GaussianMLP(dim, (hidden,), preconditioned=schedule, seed=2)]
    for activation in ("relu", "silu", "tanh"):
        options = {"activation": activation, "features": (1.5, 30.0), "preconditioned": schedule, "shared": True}
        made.append(ddpm.GaussianMLP(dim, (hidden, 5), seed=3, **options))
    return [pair for network in made if (pair := network.as_mlp_pair())]


def results(dim: int, hidden: int, count: int, steps: int) -> Iterator[Tensor]:
    """Yield the results of every op except training_step, those of the bound and of sampling for several networks."""
    betas, x0, pair = oracle.betas("linear", steps), oracle.points(count, dim), oracle.pair(oracle.weights(dim, hidden))
    at = {"seed": -(2**62) - 5, "first": 2**32 - count // 2, "backend": "native"}
    yield noise.normal(count, dim, steps, step=7, stream=noise.DATA, **at)
    yield forward_process(x0, betas, step=3, **at)
    yield reverse_process(pair, steps, count, history=True, **at)
    yield reverse_step(x0, x0.abs() + 0.1, steps, **at)
    mean, std = torch.zeros_like(x0, requires_grad=True), (x0.abs() + 0.1).requires_grad_()
    bound = transition_bound(x0, mean, std, backend="native")
    yield from (bound.detach(), *torch.autograd.grad(bound, (mean, std)))
    tabled, *deep = networks(dim, hidden, steps)
    for network in (pair, tabled):
        for closed_form in (False, True):
            yield bound_and_gradients(network, x0, betas, Place(11, 5, 13), closed_form, None, None, "native")
    for network in deep:
        yield reverse_process(network, steps, count, **at)
        yield bound_and_gradients(network, x0, betas, Place(11, 5, 13), True, 6, None, "native")


def digests() -> list[str]:
    """Return a digest of the results for every size."""
    return [hashlib.sha256(b"".join(x.numpy().tobytes() for x in results(*size))).hexdigest()[:16] for size in SIZES]


def built(compiler: str, folder: Path, *processors: str) -> ctypes.CDLL:
    """Return the library as built by a compiler for a kind of processor."""
    name = "-".join((compiler, *processors))
    return ctypes.CDLL(str(Compilation.start([compiler], folder, name, (*processors, *WARNINGS)).finish()))


# every warning is an error, except one that GCC gives about its own headers
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-uninitialized", "-Wno-unknown-warning-option")
# a flag, and the instructions that the processor must have
INSTRUCTIONS = {"": "", "-march=x86-64-v3": "avx2", "-march=native": ""}


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("processors", INSTRUCTIONS)
def test_every_build_gives_the_same_bits(
    compiler: str, processors: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    if INSTRUCTIONS[processors] not in libraries.processor():
        pytest.skip(f"the processor has no {INSTRUCTIONS[processors]}")
    expected = digests()
    monkeypatch.setattr(library, "loaded", built(compiler, tmp_path, *filter(None, [processors])))
    assert digests() == expected


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-user, and g++ for aarch64")
def test_another_architecture_gives_the_same_bits(tmp_path: Path) -> None:
    program = f'{compilation.source()}\n#include "{TESTS / "native_digest.cpp"}"\n'
    flags = [flag for flag in compilation.FLAGS if flag not in ("-shared", "-fPIC")]
    found = []
    for compiler, emulator in (("g++", []), ("aarch64-linux-gnu-g++", ["qemu-aarch64"])):
        binary = str(tmp_path / compiler)
        command = [compiler, *flags, "-static", "-iquote", str(compilation.KERNELS), "-x", "c++", "-", "-o", binary]
        subprocess.run(command, input=program, text=True, check=True)
        found.append(subprocess.run([*emulator, binary], capture_output=True, text=True, check=True).stdout)
    assert len(found[0].splitlines()) == 48
    assert found[0] == found[1]


def test_threads_change_nothing() -> None:
    threads, expected = torch.get_num_threads(), None
    try:
        for number in (1, 2, 3, 16):
            torch.set_num_threads(number)
            for _ in range(3):
                found = digests()
                assert expected is None or found == expected
                expected = found
    finally:
        torch.set_num_threads(threads)


def test_several_python_threads_at_once() -> None:
    expected, found = digests(), []
    workers = [threading.Thread(target=lambda: found.extend(digests() for _ in range(5))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 20


def test_a_forked_child_computes_too() -> None:
    pair = oracle.pair(oracle.weights(1, 4))

    def compute() -> bytes:  # uses several threads, none of which the child has; torch's own operations would hang
        return reverse_process(pair, 20, 1000, backend="native").numpy().tobytes()

    expected = compute()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if compute() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert compute() == expected


def test_a_call_lets_other_python_threads_run() -> None:
    pair, running, turns = oracle.pair(oracle.weights(1, 4)), threading.Event(), 0

    def compute() -> None:
        running.set()
        reverse_process(pair, 1000, 20_000, backend="native")
        running.clear()

    worker = threading.Thread(target=compute)
    worker.start()
    running.wait()
    while running.is_set():
        turns += 1
    worker.join()
    assert turns > 1000  # only a handful if the call kept the interpreter's lock


# ---- sizes beyond the grid


@pytest.mark.parametrize(
    ("dim", "hidden", "count", "steps"),
    oracle.sizes("DHNT", [(64, 4, 3, 5), (1, 256, 40, 5), (64, 256, 17, 2), (2, 7, 5, 4000)]),
)
def test_equality_far_out(dim: int, hidden: int, count: int, steps: int) -> None:
    weights, x0, betas = oracle.weights(dim, hidden), oracle.points(count, dim), oracle.betas("cosine", steps)

    def both(backend: str, dtype: torch.dtype) -> list[Tensor]:
        pair = MLPPair.of_tensors([w.to(dtype).requires_grad_() for w in weights])
        bound = variational_bound(pair, x0.to(dtype), betas, seed=1, backend=backend)
        gradients = torch.autograd.grad(bound, pair.tensors)
        return [bound.detach(), *gradients, reverse_process(pair, steps, count, seed=2, backend=backend)]

    found = both("native", torch.float32), both("reference", torch.float32), both("reference", torch.float64)
    oracle.assert_as_exact(*found, allowance=2)


DEEP = [((8, 5), (8, 5)), ((16, 16, 16), (3,)), ((1,), (33, 7))]


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize(("mean", "std"), DEEP, ids=str)
def test_sampling_of_networks_of_any_depth(dim: int, mean: tuple[int, ...], std: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(dim)

    def layers(hidden: tuple[int, ...], shift: float, dtype: torch.dtype) -> tuple[Layer, ...]:
        generator.manual_seed(sum(hidden))
        found = []
        for inputs, outputs in itertools.pairwise((dim + 1, *hidden, dim)):
            weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
            found.append(Layer(weight.to(dtype), 0.3 * torch.randn(outputs, generator=generator).to(dtype)))
        found[-1] = Layer(found[-1].weight, found[-1].bias + shift)
        return tuple(found)

    def samples(backend: str, dtype: torch.dtype, **options: bool) -> Tensor:
        pair = MLPPair(layers(mean, 0.0, dtype), layers(std, -1.0, dtype))
        assert backends.get("native").holds(pair, "reverse_process") == (dtype == torch.float32)
        return reverse_process(pair, 30, 150, seed=4, backend=backend, **options)

    history = samples("native", torch.float32, history=True)
    references = (samples("reference", dtype, history=True) for dtype in (torch.float32, torch.float64))
    oracle.assert_as_exact([history], *([reference] for reference in references), allowance=2)
    assert torch.equal(history[-1], samples("native", torch.float32))


# ---- edge cases


def test_threads_that_meet_a_schedule_first_share_its_constants() -> None:
    x0, schedule, found = oracle.points(200, 1), oracle.betas("linear", 500), []
    expected = forward_process(x0, schedule.clone(), backend="native")
    for _ in range(5):
        betas, together = schedule.clone(), threading.Barrier(4)

        def compute(betas: Tensor = betas, together: threading.Barrier = together) -> None:
            together.wait()
            found.append(forward_process(x0, betas, backend="native"))
            [torch.full((500,), 7.0) for _ in range(20)]  # overwrite memory that may have been freed

        workers = [threading.Thread(target=compute) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(found) == 20
    assert all(torch.equal(trajectory, expected) for trajectory in found)


@pytest.mark.one_thread
def test_no_samples_on_one_thread() -> None:
    assert reverse_process(oracle.pair(oracle.weights(1, 4)), 5, 0, backend="native").shape == (0, 1)


@pytest.mark.parametrize("dim", [1, 2])
def test_a_layer_without_units_is_called(dim: int) -> None:
    weights = [torch.zeros(0, dim + 1), torch.zeros(0), torch.zeros(dim, 0), torch.ones(dim)] * 2
    x0, betas = oracle.points(5, dim), oracle.betas("linear", 5)
    pair = MLPPair.of_tensors(weights)
    both = [variational_bound(pair, x0, betas, backend=name) for name in ("native", "reference")]
    torch.testing.assert_close(*both)
    both = [reverse_process(pair, 5, 9, backend=name) for name in ("native", "reference")]
    torch.testing.assert_close(*both)


def test_a_unit_that_is_never_on_gains_nothing() -> None:
    weights = [w.clone() for w in oracle.weights(1, 4)]
    weights[1][0] = -torch.inf
    x0, betas, found = oracle.points(50, 1), oracle.betas("linear", 20), []
    for backend in ("native", "reference"):
        pair = MLPPair.of_tensors([w.clone().requires_grad_() for w in weights])
        found.append(torch.autograd.grad(variational_bound(pair, x0, betas, backend=backend), pair.tensors))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_numbers_that_are_stored_with_the_other_sign() -> None:
    x = torch.tensor([[1 + 2j]]).conj().imag
    assert x.is_neg()
    one = torch.ones(1, 1)
    both = [reverse_step(x, one, 1, backend=name) for name in ("native", "reference")]
    torch.testing.assert_close(*both)
    both = [transition_bound(x, one, one, backend=name) for name in ("native", "reference")]
    torch.testing.assert_close(*both)


def test_features_of_large_numbers(tmp_path: Path) -> None:
    program = f"""{compilation.source()}
    #include <stdio.h>
    int main() {{
      const float frequencies[] = {{1, 1000}};
      float x[5][LANES] = {{}};
      for (int i = 0; i < LANES; i++) x[0][i] = (i % 2 ? -1.1f : 1.7f) * __builtin_powif(100, i - 4);
      fourier(frequencies, 2, 1, x[0], LANES, LANES);
      for (int i = 0; i < LANES; i++)
        printf("%.9g %.9g %.9g %.9g %.9g\\n", x[0][i], x[1][i], x[2][i], x[3][i], x[4][i]);
    }}"""
    binary = str(tmp_path / "features")
    flags = [flag for flag in compilation.FLAGS if flag not in ("-shared", "-fPIC")]
    command = [*compilation.compiler(), *flags, "-iquote", str(compilation.KERNELS), "-x", "c++", "-", "-o", binary]
    subprocess.run(command, input=program, text=True, check=True)
    said = subprocess.run([binary], capture_output=True, text=True, check=True).stdout
    x, *found = torch.tensor([[float(v) for v in line.split()] for line in said.splitlines()]).T
    for k, frequency in enumerate((1.0, 1000.0)):
        angle = (x.float() * frequency).double()  # up to 1e27, which has no digits after the point
        known = angle.abs() < 2.0**53
        for values, exact in ((found[k], torch.sin(angle)), (found[2 + k], torch.cos(angle))):
            assert float((values - exact)[known].abs().max()) < 4e-7
            assert float(values.abs().max()) <= 1


def test_a_network_that_is_too_large_is_called() -> None:
    wide = MLPPair.of_tensors([torch.zeros(4096, 513), torch.zeros(4096), torch.zeros(512, 4096), torch.zeros(512)] * 2)
    assert backends.get("native").refuses(wide, "variational_bound") == (
        "its kernels hold D up to 16384 and D times H up to 1048576; got 512 and 4096"
    )

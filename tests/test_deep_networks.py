"""Networks of several layers: activations, Fourier features, shared layers, preconditioning and dropout."""

import itertools
import math

import oracle
import pytest
import torch
from torch import Tensor, nn

import ddpm
from kernels import backends
from kernels.networks import MLPPair, describe, inputs
from kernels.reverse_process import reverse_process

STEPS = 12
SCHEDULE = ddpm.Schedule.log_snr(STEPS)

# As in test_reverse_process. Measured: the error is at most 0.14 units above twice that of the reference.
ALLOWANCE = 2.0
# As in test_draws. A preconditioned network's std is 0.01 at t = 1, where a rounding of x_t counts 250 units. About 40
# of them are left in the sum of 35 such terms, on either side.
DRAWN_ALLOWANCE = {False: 10.0, True: 80.0}

OPTIONS: list[dict[str, object]] = [
    {},
    {"activation": "silu"},
    {"activation": "tanh", "features": (0.5, 3.0)},
    {"activation": "silu", "features": (2.0, 4.0, 8.0), "preconditioned": SCHEDULE, "shared": True},
    {"activation": "tanh", "shared": True},
    {"preconditioned": SCHEDULE, "features": (1.0,)},
]
SIZES = [(1, (4,)), (1, (7, 5)), (2, (33,)), (3, (16, 16, 16, 16)), (64, (128, 128))]
CASES: list[tuple[dict[str, object], int, tuple[int, ...]]] = [
    (options, *size) for options, size in itertools.product(OPTIONS, SIZES)
]
IDS = [f"{'-'.join(options) or 'plain'}-{dim}-{hidden}" for options, dim, hidden in CASES]


def network(dim: int, hidden: tuple[int, ...], **options: object) -> ddpm.GaussianMLP:
    """Return a network whose last layers are not zero."""
    made = ddpm.GaussianMLP(dim, hidden, seed=3, **options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    for last in (made.mean[-1], made.std[-2]):
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.5 / math.sqrt(last.in_features), generator=generator)
    return made


@pytest.mark.parametrize(("options", "dim", "hidden"), CASES, ids=IDS)
def test_samples_of_native(options: dict[str, object], dim: int, hidden: tuple[int, ...]) -> None:
    made = network(dim, hidden, **options)
    pair = describe(made)
    assert backends.get("native").holds(pair, "reverse_process")
    actual = reverse_process(made, STEPS, 37, seed=3, first=5, history=True, backend="native")
    assert torch.equal(reverse_process(made, STEPS, 30, seed=3, first=12, backend="native"), actual[-1, 7:])
    single = reverse_process(made, STEPS, 37, seed=3, first=5, history=True, backend="reference")
    exact = reverse_process(made.double(), STEPS, 37, seed=3, first=5, history=True, backend="reference")
    oracle.assert_as_exact([actual], [single], [exact], ALLOWANCE)


@pytest.mark.parametrize(("options", "dim", "hidden"), CASES, ids=IDS)
def test_drawn_terms_of_native(options: dict[str, object], dim: int, hidden: tuple[int, ...]) -> None:
    # 70 rows are two whole blocks and a part of one, 6 draws a whole group of four and a part
    condition = {"condition": oracle.points(70, 3, draw=1)} if dim > 1 else {}
    made, x0 = network(dim, hidden, condition_dim=3 * len(condition), **options), oracle.points(70, dim)
    assert backends.get("native").holds(describe(made), "variational_bound", closed_form=True, drawn=True)

    def found(backend: str) -> list[Tensor]:
        dtype = next(made.parameters()).dtype
        given = {name: value.to(dtype) for name, value in condition.items()}
        diffusion, gradients = ddpm.Diffusion(made, SCHEDULE, backend), []
        # four draws: where x_{t-1} and its mean are close, luck decides how many correct digits one sum has
        for step in range(4):
            loss = diffusion.loss(x0.to(dtype), seed=5, step=step, first=7, closed_form=True, draws=6, **given)
            gradients.append([v.detach() for v in (loss, *torch.autograd.grad(loss, list(made.parameters())))])
        return [torch.stack(values) for values in zip(*gradients, strict=True)]

    actual, single = found("native"), found("reference")
    made.double()
    oracle.assert_as_exact(actual, single, found("reference"), DRAWN_ALLOWANCE["preconditioned" in options])


# one network of each activation; one is deep, one is wide, and they differ in the other options
FEW = [CASES[11], CASES[18], CASES[29]]


@pytest.mark.parametrize("closed_form", [False, True], ids=["sampled", "closed form"])
@pytest.mark.parametrize(("options", "dim", "hidden"), CASES[::3], ids=IDS[::3])
@pytest.mark.parametrize("backend", ["native", "vectorized"])
def test_the_bound_of_a_network_that_is_called(
    backend: str, options: dict[str, object], dim: int, hidden: tuple[int, ...], closed_form: bool
) -> None:
    check_bound(backend, options, dim, hidden, closed_form)


@pytest.mark.parametrize(
    ("backend", "case"),
    [
        *(
            pytest.param("triton", case, marks=pytest.mark.triton, id=f"triton-{IDS[CASES.index(case)]}")
            for case in FEW
        ),
        pytest.param("compiled", FEW[1], id="compiled"),  # only one, because each compiles for some 20 s
    ],
)
def test_the_bound_of_a_network_that_other_backends_call(
    backend: str, case: tuple[dict[str, object], int, tuple[int, ...]]
) -> None:
    check_bound(backend, *case, closed_form=case is FEW[1])


def check_bound(backend: str, options: dict[str, object], dim: int, hidden: tuple[int, ...], closed_form: bool) -> None:
    made, x0 = network(dim, hidden, **options).double(), oracle.points(20, dim)
    expected = ddpm.Diffusion(made, SCHEDULE, "reference").loss(x0.double(), step=3, closed_form=closed_form)
    exact = [v.detach() for v in (expected, *torch.autograd.grad(expected, list(made.parameters())))]
    made.to(oracle.device(backend), torch.float32)
    loss = ddpm.Diffusion(made, SCHEDULE, backend).loss(x0.to(oracle.device(backend)), step=3, closed_form=closed_form)
    found = [v.detach().cpu() for v in (loss, *torch.autograd.grad(loss, list(made.parameters())))]
    for a, e in zip(found, exact, strict=True):
        torch.testing.assert_close(a.double(), e, rtol=0, atol=1e-5 * float(e.abs().max()))


@pytest.mark.parametrize(("options", "dim", "hidden"), CASES[::2], ids=IDS[::2])
def test_the_pair_is_the_module(options: dict[str, object], dim: int, hidden: tuple[int, ...]) -> None:
    made = network(dim, hidden, **options).double()
    pair, x = describe(made), oracle.points(9, dim).double()
    assert isinstance(pair, MLPPair)
    t = torch.arange(1, 10, dtype=torch.float64).unsqueeze(1) / (STEPS + 1)
    for a, b in zip(pair(x, t), made(x, t), strict=True):
        assert torch.equal(a, b)
    assert {id(p) for p in pair.tensors} == {id(p) for p in made.parameters()}


def test_inputs_are_in_the_order_that_their_docstring_says() -> None:
    x, time = torch.tensor([[0.3, -0.7]]), torch.tensor([[0.9]])
    found = inputs(x, (2.0, 4.0), torch.tensor([[5.0]]), time)
    angles = [0.6, -1.4, 1.2, -2.8]
    expected = [0.3, -0.7, *map(math.sin, angles), *map(math.cos, angles), 5.0, 0.9]
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_a_preconditioned_network_begins_as_the_reversed_forward_process() -> None:
    made, x = ddpm.GaussianMLP(2, (8, 8), preconditioned=SCHEDULE, activation="silu"), oracle.points(STEPS, 2)
    mean, std = made(x, torch.arange(1, STEPS + 1).unsqueeze(1) / (STEPS + 1))
    betas = SCHEDULE.betas.float().unsqueeze(1)
    torch.testing.assert_close(mean, torch.sqrt(1 - betas) * x)
    torch.testing.assert_close(std, torch.sqrt(betas).expand(-1, 2))


def test_dropout_is_at_work_in_training_mode_only() -> None:
    made, x0 = network(2, (16, 16), dropout=0.5), oracle.points(50, 2)
    plain = network(2, (16, 16))
    assert not made.training
    plain.load_state_dict({name.replace("3.", "2.").replace("6.", "4."): p for name, p in made.state_dict().items()})
    models = [ddpm.Diffusion(n, SCHEDULE) for n in (made, plain)]
    assert torch.equal(*(model.loss(x0) for model in models))
    assert torch.equal(*(model.sample(9) for model in models))
    assert isinstance(describe(made), MLPPair)
    made.train()
    assert describe(made) is None
    torch.manual_seed(0)
    assert float(models[0].loss(x0).detach()) != float(models[1].loss(x0).detach())


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"activation": "gelu"}, ValueError, "activation must be one of relu, silu, tanh; got 'gelu'"),
        ({"features": (1.0, "2")}, TypeError, "features must be a number; got '2'"),
        ({"features": (math.inf,)}, ValueError, "features must be from -1000 to 1000; got inf"),
        ({"dropout": 1.5}, ValueError, r"dropout must be from 0 to 1; got 1\.5"),
        ({"preconditioned": True}, TypeError, r"preconditioned must be a ddpm\.Schedule or None; got bool"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ddpm.GaussianMLP(2, (8,), **arguments)  # type: ignore[arg-type]


def test_a_network_of_another_schedule() -> None:
    made = ddpm.GaussianMLP(1, (4,), preconditioned=SCHEDULE)
    with pytest.raises(ValueError, match="network has tables for T = 12 steps; got T = 13"):
        ddpm.Diffusion(made, ddpm.Schedule.log_snr(13))
    with pytest.raises(ValueError, match="network is preconditioned for another schedule than this one"):
        ddpm.Diffusion(made, ddpm.Schedule.constant(12, 0.3))


def test_half_precision_that_cannot_tell_the_steps_apart() -> None:
    schedule = ddpm.Schedule.log_snr(1000)
    diffusion = ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), preconditioned=schedule).bfloat16(), schedule, "reference")
    with pytest.raises(ValueError, match=r"torch\.bfloat16 cannot tell T = 1000 steps apart: use float32"):
        diffusion.sample(3)


def test_the_way_a_network_takes_can_be_asked() -> None:
    deep = ddpm.Diffusion(network(2, (8, 8), activation="silu"), SCHEDULE, "native").paths()
    assert deep["sample"] == "kernel"
    assert deep["loss"] == "called: its kernels hold networks with the activation 'relu'; got 'silu'"
    assert deep["loss of some draws"] == "called: backend 'native' has no kernel for drawn terms of Eq. 3"
    assert deep["loss of some draws in closed form"] == "kernel"
    wide = ddpm.Diffusion(network(2, (8, 513), shared=True), SCHEDULE, "native").paths()
    assert "holds layers of up to 512 units" in wide["loss of some draws in closed form"]
    assert wide["sample"] == "kernel"
    tutorial = ddpm.Diffusion(ddpm.GaussianMLP(), SCHEDULE, "vectorized").paths()
    assert (tutorial["loss"], tutorial["sample"]) == ("kernel", "kernel")
    assert tutorial["loss in closed form"] == "called: backend 'vectorized' has no kernel for the bound in closed form"
    assert tutorial["loss of some draws"] == "called: backend 'vectorized' has no kernel for drawn terms"
    called = ddpm.Diffusion(network(2, (8,), dropout=0.5).train(), SCHEDULE, "vectorized").paths()
    assert called["sample"] == "called: what the network computes is known only from calling it"


def log_snr(schedule: ddpm.Schedule) -> Tensor:
    return torch.logit(schedule.alpha_bar)


def test_the_schedule_is_even_in_log_snr() -> None:
    torch.testing.assert_close(log_snr(ddpm.Schedule.log_snr(16)), torch.linspace(9, -6, 16, dtype=torch.float64))
    torch.testing.assert_close(log_snr(ddpm.Schedule.log_snr(1, 3.0)), torch.tensor([3.0], dtype=torch.float64))
    for arguments, said in (
        ((10, 1.0, 2.0), "log_snr_start must be above log_snr_end; got 1.0 and 2.0"),
        ((10, math.nan), "log_snr_start must be finite; got nan"),
        ((0,), "steps must be from 1"),
    ):
        with pytest.raises(ValueError, match=said):
            ddpm.Schedule.log_snr(*arguments)

"""`ddpm demo`: run the tutorial, or fit a table of points from another known distribution."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddpm.commands.options import backend_option, file, seed_option
from ddpm.commands.output import say

if TYPE_CHECKING:
    import numpy as np

STARTED = time.perf_counter()  # the package of the commands is imported first, so this is near the start of the process
COUNT = 1000  # points of the tutorial, and samples
ROWS = 10_000  # of the other distributions

Row = tuple[str, str, str]  # label, value, unit


@click.command()
@click.option(
    "--out", type=file, metavar="DIR", default="demo", help="Folder for the output. It is created if it does not exist."
)
@click.option(
    "--data",
    type=click.Choice(["mixture", "moons", "eight-gaussians", "checkerboard"]),
    default="mixture",
    help="What to learn: the tutorial's mixture of two Gaussians, or points in the plane.",
)
@backend_option
@seed_option
def demo(out: Path, data: str, backend: str | None, seed: int) -> None:
    """Run the tutorial, from data to figures.

    The demo trains two tiny networks for 1000 iterations on 1000 points of a mixture of two Gaussians, and draws 1000
    samples. It prints the times, the bound, and the distance between samples and data. It writes five figures
    (data.png, forward.png, loss.png, reverse.png, samples.png), samples.npy and model.safetensors into DIR, and
    replaces those of an earlier run.

    With other --data, it trains a model of a table on 10,000 points, as "ddpm train" does.
    """
    from ddpm.files import check_output
    from kernels import arguments
    from kernels.backends import device_type_for

    device_type_for(backend)
    arguments.integer("seed", seed, -(2**63), 2**64 - 1)
    out.mkdir(parents=True, exist_ok=True)
    check_output(out / "samples.npy", force=True)
    rows = _tutorial(out, backend, seed) if data == "mixture" else _points(data, out, backend, seed)
    rows.insert(-5, ("total, with imports and figures", f"{time.perf_counter() - STARTED:.3f}", "s"))
    labels, values = (max(len(row[i]) for row in rows) for i in (0, 1))
    for label, value, unit in rows:
        say(f"{label:<{labels}}  {value:>{values}} {unit}".rstrip())
    first, shows = ("samples.png", "true density") if data == "mixture" else ("columns.png", "data")
    say(f"see {out / first} (samples and {shows}) and {out / 'reverse.png'} (noise to data); the files are in {out}")


def _stage(text: str) -> None:
    """Print on standard error which stage begins."""
    click.echo(f"{text} ...", err=True)


def _tutorial(out: Path, backend: str | None, seed: int) -> list[Row]:
    import numpy as np
    import torch
    from scipy.stats import wasserstein_distance

    import ddpm
    from ddpm import figures, table_files
    from ddpm.commands.drawing import save
    from ddpm.commands.tutorial import fresh_bound
    from kernels.backends import device_type_for

    timesteps, steps = 250, 1000
    device = device_type_for(backend)
    _stage(f"making {COUNT} points: a mixture of two Gaussians")
    x0 = ddpm.datasets.mixture(COUNT, seed=seed).to(device)
    network = ddpm.GaussianMLP(dim=1, hidden=(4,), seed=seed).to(device)
    diffusion = ddpm.Diffusion(network, ddpm.Schedule.constant(timesteps, 0.02), backend=backend)

    def sample() -> np.ndarray:
        return _array(diffusion.sample(COUNT, seed=seed, history=True))

    def gradients() -> object:
        return torch.autograd.grad(diffusion.loss(x0, seed=seed), list(diffusion.parameters()))

    _stage(f"compiling for backend {diffusion.backend}")
    compiling = _seconds_of_first_call(gradients) + _seconds_of_first_call(sample)
    _stage(f"training {steps} iterations")
    result, training = _timed(lambda: ddpm.train(diffusion, x0, steps=steps, seed=seed, progress=True))
    losses = _array(result.losses)
    _stage(f"sampling {COUNT} points")
    history, sampling = _timed(lambda: sample()[:, :, 0])
    bound = fresh_bound(diffusion, x0, seed=seed, step=steps)

    entropy = ddpm.datasets.mixture_entropy()
    quantiles = ddpm.datasets.mixture_quantile((np.arange(100_000) + 0.5) / 100_000)
    fresh = _array(ddpm.datasets.mixture(COUNT, seed=seed ^ 1))  # the neighbouring seed, always a valid one
    x = np.linspace(-8, 8, 801)
    density = ddpm.datasets.mixture_density(x)
    _stage("drawing figures")
    trajectory = _array(diffusion.forward_process(x0, seed=seed))[:, :, 0]
    save(figures.data_figure(trajectory[0]), out / "data.png")
    save(figures.forward_figure(trajectory), out / "forward.png")
    save(figures.loss_figure((timesteps + 1) * losses, entropy), out / "loss.png")
    save(figures.reverse_figure(history), out / "reverse.png")
    save(figures.samples_figure(history[-1], x, density), out / "samples.png")
    table_files.write(out / "samples.npy", history[-1][:, None])
    ddpm.save(diffusion, out / "model.safetensors")
    distances = (wasserstein_distance(rows, quantiles) for rows in (history[-1], fresh[:, 0]))
    rows = _rows(diffusion.backend, steps, COUNT, (training, sampling), bound, entropy, *distances)
    return [rows[0], ("compiling", f"{compiling:.3f}", "s"), *rows[1:]]


def _points(data: str, out: Path, backend: str | None, seed: int) -> list[Row]:
    import ddpm
    from ddpm import figures, table_files
    from ddpm.commands.drawing import save, write_figures

    known = ddpm.datasets.DISTRIBUTIONS[data]
    _stage(f"making {ROWS} points: {data}")
    x, fresh, other = (_array(known.sample(ROWS, (seed ^ i) % 2**32)) for i in range(3))
    model = ddpm.DDPM(backend=backend, random_state=seed % 2**32, verbose=True)
    _stage("training")
    _, training = _timed(lambda: model.fit(x))
    _stage(f"sampling {ROWS} points")
    samples, sampling = _timed(lambda: model.sample(ROWS, random_state=seed))
    _stage("measuring the bound and the distances")
    bound = -float(model.score_samples(fresh[:COUNT], samples=1).mean())
    distances = [ddpm.metrics.wasserstein(rows, fresh) for rows in (samples, other)]
    _stage("drawing figures")
    write_figures(model, fresh, None, samples, out, seed)
    each_row = known.dim * (model.diffusion_.schedule.steps + 1)
    bounds = each_row * model.losses_ - model.transform_.log_jacobian(x.astype(float)).mean()
    save(figures.loss_figure(bounds, known.entropy()), out / "loss.png")
    table_files.write(out / "samples.npy", samples)
    model.save(out / "model.safetensors")
    steps, took = len(model.losses_), (training, sampling)
    return _rows(model.diffusion_.backend, steps, ROWS, took, bound, known.entropy(), *distances)


def _rows(
    backend: str,
    steps: int,
    count: int,
    took: tuple[float, float],
    bound: float,
    entropy: float,
    of_samples: float,
    of_fresh: float,
) -> list[Row]:
    """Return all rows of the table that is printed, except the total time."""
    truth = "from the data distribution"
    return [
        ("backend", backend, ""),
        (f"training, {steps} iterations", f"{took[0]:.3f}", "s"),
        (f"sampling, {count} points", f"{took[1]:.3f}", "s"),
        ("bound", f"{bound:.3f}", "nats"),
        ("entropy of the data", f"{entropy:.3f}", "nats"),
        ("bound above entropy", f"{bound - entropy:.3f}", "nats"),
        ("Wasserstein-1, samples", f"{of_samples:.3f}", truth),
        ("Wasserstein-1, fresh data", f"{of_fresh:.3f}", truth),
    ]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call, and its time in seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def _seconds_of_first_call(call: Callable[[], object]) -> float:
    """Return how many seconds longer a first call takes than a second one: the time to compile."""
    first, second = (_timed(call)[1] for _ in range(2))
    return max(0.0, first - second)


def _array(tensor: Any) -> "np.ndarray":
    return tensor.detach().cpu().numpy()

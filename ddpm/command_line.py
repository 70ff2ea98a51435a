"""The `ddpm` command: the tutorial in one call, and training and sampling on data of one's own.

Modules that take long to import (torch, matplotlib, scipy) are imported inside the commands that use them, so
that `ddpm --help` is immediate.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure

    import ddpm

STARTED = time.perf_counter()
FRESH_STEPS = 20  # trajectories of each point over which a bound is averaged after training


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on `arguments`, by default those of the process, and return its exit code.

    What a user can set right is one line on stderr and code 2; anything else is a bug, with a traceback.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            return command.main(arguments, prog_name="ddpm", standalone_mode=False) or 0
    except click.Abort:
        click.echo("ddpm: interrupted", err=True)
        return 130
    except click.ClickException as error:
        message = error.format_message()
    except OSError as error:
        # the system's own errors read "[Errno 2] No such file ..." as they are
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (ValueError, TypeError) as error:
        message = str(error)
    except RuntimeError as error:
        from kernels.backends import BackendUnavailable

        if not isinstance(error, BackendUnavailable):
            raise
        message = str(error)
    click.echo(f"ddpm: error: {' '.join(message.split())}", err=True)
    return 2


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"ddpm: warning: {message}", err=True)


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    import ddpm

    click.echo(f"ddpm {ddpm.__version__}")
    context.exit()


@click.group(
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 100,
    },
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def command(context: click.Context) -> None:
    """The plain-PyTorch DDPM tutorial with its two loops, the variational bound and the reverse process, as
    fused kernels.

    \b
    The tutorial, from data to figures:
      ddpm demo
    On points of your own, one row a point:
      ddpm train points.csv --out model.safetensors
      ddpm sample model.safetensors --count 1000 --out samples.csv
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


backend_option = click.option(
    "--backend", metavar="NAME", help="How to compute, see 'ddpm backends'.  [default: the fastest here]"
)
seed_option = click.option(
    "--seed", metavar="N", default=0, help="Seed of every random number: the same seed gives the same result."
)
force_option = click.option("--force", is_flag=True, help="Replace the output file where it exists.")


@command.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default="demo",
    help="Folder to write into, made where it is missing.",
)
@backend_option
@seed_option
def demo(out: Path, backend: str | None, seed: int) -> None:
    """Run the tutorial, from data to figures.

    Trains two tiny networks for 1000 steps on 1000 points of a mixture of two Gaussians, draws 1000 samples,
    and prints what that took and how good it is. Writes into DIR the five figures (data.png, forward.png,
    loss.png, reverse.png, samples.png), samples.npy and model.safetensors, replacing those of an earlier run.
    """
    import numpy as np
    from scipy.stats import wasserstein_distance

    import ddpm
    from ddpm import figures
    from ddpm.files import check_output, write_points
    from kernels.backends import device_type_for

    timesteps, steps, count = 250, 1000, 1000
    device = device_type_for(backend)
    x0 = ddpm.datasets.mixture(count, seed=seed).to(device)
    network = ddpm.GaussianMLP(dim=1, hidden=(4,), seed=seed).to(device)
    diffusion = ddpm.Diffusion(network, ddpm.Schedule.constant(timesteps, 0.02), backend=backend)
    out.mkdir(parents=True, exist_ok=True)
    check_output(out / "samples.npy", force=True)

    def sample() -> np.ndarray:
        return _array(diffusion.sample(count, seed=seed, history=True))

    def gradients() -> object:
        import torch

        return torch.autograd.grad(diffusion.loss(x0, seed=seed), list(diffusion.parameters()))

    click.echo(f"first calls on backend {diffusion.backend} ...", err=True)
    compiling = _seconds_of_first_call(gradients) + _seconds_of_first_call(sample)

    start = time.perf_counter()
    losses = _array(ddpm.train(diffusion, x0, steps=steps, seed=seed, progress=True).losses)
    training = time.perf_counter() - start
    start = time.perf_counter()
    history = sample()[:, :, 0]
    sampling = time.perf_counter() - start
    bound = _bound(diffusion, x0, seed=seed, step=steps)

    entropy = ddpm.datasets.mixture_entropy()
    quantiles = ddpm.datasets.mixture_quantile((np.arange(100_000) + 0.5) / 100_000)
    fresh = _array(ddpm.datasets.mixture(count, seed=seed ^ 1))  # the neighbouring seed, always a valid one

    x = np.linspace(-8, 8, 801)
    density = ddpm.datasets.mixture_density(x)
    trajectory = _array(diffusion.forward_process(x0, seed=seed))[:, :, 0]
    _save_figure(figures.data_figure(trajectory[0]), out / "data.png")
    _save_figure(figures.forward_figure(trajectory), out / "forward.png")
    _save_figure(figures.loss_figure((timesteps + 1) * losses, entropy), out / "loss.png")
    _save_figure(figures.reverse_figure(history), out / "reverse.png")
    _save_figure(figures.samples_figure(history[-1], x, density), out / "samples.png")
    write_points(out / "samples.npy", history[-1][:, None])
    ddpm.save(diffusion, out / "model.safetensors")

    truth = "from the data distribution"
    _print_table(
        ("backend", diffusion.backend, ""),
        ("compiling", f"{compiling:.3f}", "s"),
        (f"training, {steps} steps", f"{training:.3f}", "s"),
        (f"sampling, {count} points", f"{sampling:.3f}", "s"),
        ("all, imports and figures too", f"{time.perf_counter() - STARTED:.3f}", "s"),
        ("bound", f"{bound:.3f}", "nats"),
        ("entropy of the data", f"{entropy:.3f}", "nats"),
        ("bound above entropy", f"{bound - entropy:.3f}", "nats"),
        ("Wasserstein-1, samples", f"{wasserstein_distance(history[-1], quantiles):.3f}", truth),
        ("Wasserstein-1, fresh data", f"{wasserstein_distance(fresh[:, 0], quantiles):.3f}", truth),
    )
    click.echo(f"figures, samples and model are in {out}")


@command.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="RUN",
    required=True,
    help="Model file to write, .safetensors.",
)
@click.option("--steps", metavar="N", type=click.IntRange(min=1), default=1000, help="Steps of the optimizer, AdamW.")
@click.option("--lr", metavar="X", type=click.FloatRange(min=0, min_open=True), default=1e-2, help="Learning rate.")
@click.option("--hidden", metavar="H", type=click.IntRange(min=1), default=32, help="Hidden units of each network.")
@click.option(
    "--timesteps",
    metavar="T",
    type=click.IntRange(min=1),
    default=250,
    help="Steps T between data and noise.",
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "linear", "cosine"]),
    default="constant",
    help="How the noise is spread over the T steps.",
)
@seed_option
@backend_option
@force_option
def train(
    data: Path,
    out: Path,
    steps: int,
    lr: float,
    hidden: int,
    timesteps: int,
    schedule: str,
    seed: int,
    backend: str | None,
    force: bool,
) -> None:
    """Train on your own DATA and write a model file.

    DATA is a .npy file, [N] or [N, D], or a .csv file with one row of numbers for each point and at most one
    row of names above. Points are used as they are, and the chain ends in noise of standard deviation 1:
    scale columns to something near that first. Every step of the optimizer takes all points.

    Prints the variational bound after training, in nats per dimension: the lower, the better.
    """
    from ddpm.files import check_output, read_points

    if out.suffix != ".safetensors":
        raise click.BadParameter(f"{out} does not end in .safetensors", param_hint="'--out'")
    check_output(out, force)
    points = read_points(data)
    _warn_of_scale(data, points)

    import torch

    import ddpm
    from kernels.backends import device_type_for

    device = device_type_for(backend)
    x0 = torch.from_numpy(points).to(device)
    network = ddpm.GaussianMLP(dim=points.shape[1], hidden=(hidden,), seed=seed).to(device)
    diffusion = ddpm.Diffusion(network, _schedule(schedule, timesteps), backend=backend)
    try:
        ddpm.train(diffusion, x0, steps=steps, lr=lr, seed=seed, progress=True)
        bound = _bound(diffusion, x0, seed=seed, step=steps)
        if not math.isfinite(bound):  # the last update is the one that no later step of training looks at
            raise FloatingPointError(f"the bound is {bound} after the last iteration")
    except FloatingPointError as error:
        raise click.ClickException(f"training diverged, {error}: try a smaller --lr than {lr}") from error
    ddpm.save(diffusion, out)
    click.echo(f"bound {bound:.3f} nats per dimension; wrote {out}")


@command.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--count", metavar="N", type=click.IntRange(min=1), required=True, help="Number of samples.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="File to write, .npy or .csv, one row a sample.",
)
@seed_option
@click.option(
    "--first",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Index of the first sample: --first 1000 continues where --count 1000 stopped.",
)
@backend_option
@force_option
def sample(run: Path, count: int, out: Path, seed: int, first: int, backend: str | None, force: bool) -> None:
    """Draw samples from a trained model.

    RUN is the model file that "ddpm train" or "ddpm demo" wrote. A sample depends on the model, the seed and
    its index alone, so that --first can split a long run into parts.
    """
    from ddpm.files import check_output, points_format, write_points

    points_format(out)
    check_output(out, force)

    import ddpm
    from kernels.backends import device_type_for

    diffusion = ddpm.load(run, backend=backend).to(device_type_for(backend))
    write_points(out, _array(diffusion.sample(count, seed=seed, first=first)))
    click.echo(f"wrote {count} samples to {out}")


@command.command()
def backends() -> None:
    """List the backends, and why one is not available."""
    import ddpm

    states = ddpm.backends()
    width = max(map(len, states))
    for name, state in states.items():
        click.echo(f"{name:<{width}}  {state}")


def _schedule(name: str, timesteps: int) -> "ddpm.Schedule":
    """The named schedule of T steps; signal and noise end as they do in the papers, whatever T is."""
    import ddpm

    if name == "constant":  # the tutorial's: 250 steps of 0.02
        return ddpm.Schedule.constant(timesteps, 1 - 0.98 ** (250 / timesteps))
    if name == "linear":  # Ho 2020: 1000 steps from 1e-4 to 0.02
        return ddpm.Schedule.linear(timesteps, 0.1 / timesteps, min(20 / timesteps, 0.999))
    return ddpm.Schedule.cosine(timesteps)


def _bound(diffusion: "ddpm.Diffusion", x0: "torch.Tensor", seed: int, step: int) -> float:
    """The variational bound in nats per dimension, mean over trajectories that training did not see."""
    losses = [float(diffusion.loss(x0, seed=seed, step=step + i).detach()) for i in range(FRESH_STEPS)]
    return (diffusion.schedule.steps + 1) * math.fsum(losses) / FRESH_STEPS


def _seconds_of_first_call(call: Callable[[], object]) -> float:
    """Seconds that the first call takes beyond a second one: what there was to compile."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return max(0.0, seconds[0] - seconds[1])


def _warn_of_scale(data: Path, points: "np.ndarray") -> None:
    std = points.std(axis=0, dtype=float)
    far = [f"{i} ({value:.3g})" for i, value in enumerate(std) if not 0.1 <= value <= 10]
    if far:
        listed = ", ".join(far[:5]) + (", ..." if len(far) > 5 else "")
        click.echo(f"ddpm: warning: {data}: standard deviation far from 1 in columns (from 0) {listed}", err=True)


def _array(tensor: "torch.Tensor") -> "np.ndarray":
    return tensor.detach().cpu().numpy()


def _save_figure(figure: "Figure", path: Path) -> None:
    from ddpm.files import atomic_path

    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _print_table(*rows: tuple[str, str, str]) -> None:
    """Print rows of (label, value, unit), values aligned at the right."""
    labels = max(len(label) for label, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    for label, value, unit in rows:
        click.echo(f"{label:<{labels}}  {value:>{values}} {unit}".rstrip())

"""Models on disk: safetensors for the numbers, readable metadata beside them, never pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpm.averages import KINDS
from ddpm.diffusion import Diffusion
from ddpm.files import atomic_path
from ddpm.networks import GaussianMLP, is_plain
from ddpm.schedule import Schedule

Part = tuple[dict[str, Any], dict[str, Tensor]]  # a description, and tensors by name

FORMAT, VERSION = "fused-ddpm", 2
PARTS = TABLE, RUN = "table", "run"
READABLE = (1, 2)  # the first version knew the tutorial's networks only


def check_can_be_saved(diffusion: Diffusion) -> None:
    """Raise ValueError unless the network is a ddpm.GaussianMLP, as its constructor made it but for its numbers."""
    network = diffusion.network
    if type(network) is not GaussianMLP:
        raise ValueError(f"only a ddpm.GaussianMLP can be saved; got {type(network).__name__}")
    arguments = network.arguments
    if not _is_as_made(network, _made(arguments, diffusion.schedule)):
        said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ValueError(
            f"network is no longer what GaussianMLP({said}) makes, and would come back as another: only weights, dtype "
            "and requires_grad of such a network can be saved"
        )


def save(diffusion: Diffusion, path: str | os.PathLike[str], *, parts: Mapping[str, Part] | None = None) -> None:
    """Write the network, the schedule, and all that training goes on from; an existing file is replaced whole.

    `parts` are what others add, by name: "table" of an estimator, "run" of training that has not ended.

    Raises:
        ValueError: see check_can_be_saved.
        OSError: the file cannot be written.
    """
    check_can_be_saved(diffusion)
    network, parts = diffusion.network, parts or {}
    assert isinstance(network, GaussianMLP)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for name, state in (diffusion.optimizer_state or {}).items():
        tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
    for kind, weights in diffusion.kept.items():
        tensors |= {f"{kind}.{name}": value for name, value in weights.items()}
    tensors["schedule.betas"] = diffusion.schedule.betas
    for part, (_, more) in parts.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in more.items()}
    description = {
        "version": VERSION,
        "network": network.arguments,
        "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
        "schedule": repr(diffusion.schedule),
        "seed": int(diffusion.seed),
        "iteration": int(diffusion.iteration),
        "best_loss": diffusion.best_loss,
        **{part: told for part, (told, _) in parts.items()},
    }
    # one entry, because the order of several changes from run to run, and equal models should be equal files
    content = safetensors.torch.save(
        {name: t.contiguous() for name, t in tensors.items()}, {FORMAT: json.dumps(description)}
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _made(arguments: dict[str, Any], schedule: Schedule) -> GaussianMLP:
    preconditioned = schedule if arguments.get("preconditioned") else None
    return GaussianMLP(**arguments | {"preconditioned": preconditioned})


def _is_as_made(network: GaussianMLP, made: GaussianMLP) -> bool:
    """Whether `network` is one that GaussianMLP's constructor makes, but for its numbers."""
    tensors, expected = network.state_dict(), made.state_dict()
    return (
        repr(network) == repr(made)
        and all(map(is_plain, network.modules()))
        and {name: tensor.shape for name, tensor in tensors.items()} == {name: t.shape for name, t in expected.items()}
        and len({tensor.data_ptr() for tensor in tensors.values()}) == len(tensors)  # none is tied to another
    )


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says of its network, its schedule, its training and its parts, {} for none.

    Raises:
        FileNotFoundError, IsADirectoryError: no such file.
        ValueError: the file is truncated, is not one of ours, or was written by a later version.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{os.fspath(path)}: is a folder, not a model file")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(FORMAT)
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole safetensors file: {error}") from error
    if metadata is None:
        raise ValueError(f"{os.fspath(path)!r} is not a model of fused-ddpm")
    try:
        description: dict[str, Any] = {part: {} for part in PARTS} | json.loads(metadata)
        version = description["version"]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole model of fused-ddpm: {error}") from error
    if version not in READABLE:
        readable = " and ".join(map(str, READABLE))
        raise ValueError(f"{os.fspath(path)!r} has format version {version}; this reads {readable}")
    return description


def load(path: str | os.PathLike[str], backend: str | None = None) -> Diffusion:
    """Read a model on the CPU; training can go on from it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, is not one of ours, was written by a later version or by ddpm.DDPM, or is a
            checkpoint.
    """
    diffusion, parts = load_with_parts(path, backend)
    refuse_checkpoint(path, parts)
    if TABLE in parts:
        raise ValueError(f"{os.fspath(path)!r} is a model of a table's columns, transformed: ddpm.DDPM.load reads it")
    return diffusion


def refuse_checkpoint(path: str | os.PathLike[str], parts: Mapping[str, object]) -> None:
    """Raise ValueError where a file has the part of a run."""
    if parts.get(RUN):
        raise ValueError(f"{os.fspath(path)!r} is a checkpoint of training, which resume goes on from, not a model")


def load_with_parts(path: str | os.PathLike[str], backend: str | None = None) -> tuple[Diffusion, dict[str, Part]]:
    """Read a model, and what others added to it."""
    description = describe(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {
                # a copy: what safetensors gives is the file itself, and changes with it
                name: file.get_tensor(name).clone()
                for name in file.keys()  # noqa: SIM118
            }
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole safetensors file: {error}") from error
    try:
        schedule = Schedule(tensors["schedule.betas"])
        network = _made(description["network"], schedule)
        network.load_state_dict(_of("network", tensors), assign=True)  # in the dtype that they were saved in
        for name in description.get("frozen", ()):
            network.get_parameter(name).requires_grad_(False)
        seed, iteration = int(description["seed"]), int(description["iteration"])
        optimizer_state = _optimizer_state(network, tensors)
        kept = {kind: _kept(network, tensors, kind) for kind in KINDS if any(n.startswith(kind) for n in tensors)}
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:  # names or shapes do not fit
        raise ValueError(f"{os.fspath(path)!r} is not a whole model of fused-ddpm: {error}") from error
    diffusion = Diffusion(network, schedule, backend)
    diffusion.seed, diffusion.iteration = seed, iteration
    diffusion.optimizer_state = optimizer_state or None
    diffusion.kept, diffusion.best_loss = kept, description.get("best_loss")
    return diffusion, {part: (description[part], _of(part, tensors)) for part in PARTS if description[part]}


def restore(diffusion: Diffusion, saved: Diffusion) -> None:
    """Let `diffusion` stand where `saved`, of the same network and schedule, stands."""
    diffusion.network.load_state_dict(saved.network.state_dict())
    diffusion.seed, diffusion.iteration = saved.seed, saved.iteration
    diffusion.optimizer_state, diffusion.kept, diffusion.best_loss = saved.optimizer_state, saved.kept, saved.best_loss


def _of(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a part, by their names in it."""
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def _kept(network: GaussianMLP, tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The weights of a kind that were kept beside those of the network."""
    weights = {name: tensors[f"{kind}.{name}"] for name, _ in network.named_parameters()}
    for name, p in network.named_parameters():
        if weights[name].shape != p.shape:
            raise ValueError(f"{kind}.{name} must have shape {list(p.shape)}; got {list(weights[name].shape)}")
    return weights


def _optimizer_state(network: GaussianMLP, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """AdamW's state by parameter name; the first files had the number of the parameter in its place."""
    parameters, state = dict(network.named_parameters()), dict[str, dict[str, Tensor]]()
    for entry, tensor in tensors.items():
        if entry.startswith("optimizer."):
            name, _, key = entry.removeprefix("optimizer.").rpartition(".")
            name = list(parameters)[int(name)] if name.isdigit() else name
            if key != "step" and tensor.shape != parameters[name].shape:
                raise ValueError(f"{entry} must have shape {list(parameters[name].shape)}; got {list(tensor.shape)}")
            state.setdefault(name, {})[key] = tensor
    return state

"""Model files: safetensors with readable metadata, never pickle."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpm import descriptions
from ddpm.averages import KINDS
from ddpm.descriptions import RUN, TABLE
from ddpm.diffusion import Diffusion
from ddpm.files import atomic_path, one_line
from ddpm.networks import GaussianMLP, is_plain
from ddpm.schedule import Schedule
from kernels import arguments, backends

Part = tuple[dict[str, Any], dict[str, Tensor]]  # a description, and tensors by name

FORMAT, VERSION = "fused-ddpm", 3
PARTS = TABLE, RUN
READABLE = (1, 2, 3)  # version 1 has only the tutorial's networks; versions 1 and 2 have no SHA-256
DIGEST = "sha256"  # of everything else in a file
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # in which layers can compute
ADAMW = {"step", "exp_avg", "exp_avg_sq"}


def check_can_be_saved(diffusion: Diffusion) -> None:
    """Raise ValueError unless the network is a ddpm.GaussianMLP, changed only in weights, dtype and requires_grad."""
    network = diffusion.network
    if type(network) is not GaussianMLP:
        raise ValueError(f"only a ddpm.GaussianMLP can be saved; got {type(network).__name__}")
    arguments = network.arguments
    if not _is_as_made(network, _made(arguments, diffusion.schedule)):
        said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ValueError(
            f"network is no longer what GaussianMLP({said}) makes, and a file cannot keep the difference: only the "
            "weights, dtype and requires_grad of such a network can be saved"
        )
    _check_dtypes(network.state_dict())


def save(diffusion: Diffusion, path: str | os.PathLike[str], *, parts: Mapping[str, Part] | None = None) -> None:
    """Write a model to a file: the network, the schedule, and the state from which training can continue.

    An existing file is replaced in one step: it is never half written.

    Args:
        diffusion: a model whose network is a `ddpm.GaussianMLP`, unchanged except for weights, dtype and
            `requires_grad`.
        path: the file to write. `ddpm.load` reads it.
        parts: descriptions and tensors that other modules add, by name: "table" for an estimator, "run" for training
            that has not ended.

    Raises:
        ValueError: the network is not a `ddpm.GaussianMLP`, or was changed in another way.
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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # one entry only: the order of several changes from run to run, and equal models should give equal files
    said = json.dumps(description | {DIGEST: _digest(description, tensors)})
    content = safetensors.torch.save(tensors, {FORMAT: said})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _made(arguments: dict[str, Any], schedule: Schedule) -> GaussianMLP:
    """Return a network whose tensors have no values, and so need no memory."""
    preconditioned = schedule if arguments.get("preconditioned") else None
    with torch.device("meta"):
        return GaussianMLP(**arguments | {"preconditioned": preconditioned})


def _is_as_made(network: GaussianMLP, made: GaussianMLP) -> bool:
    """Return whether `network` is what GaussianMLP's constructor makes, except for the values of its tensors."""
    tensors, expected = network.state_dict(), made.state_dict()
    return (
        repr(network) == repr(made)
        and all(map(is_plain, network.modules()))
        and {name: tensor.shape for name, tensor in tensors.items()} == {name: t.shape for name, t in expected.items()}
        and len({tensor.data_ptr() for tensor in tensors.values()}) == len(tensors)  # no two are tied
    )


def _check_dtypes(tensors: dict[str, Tensor]) -> None:
    """Raise ValueError unless all tensors of a network have the same dtype, one in which layers can compute."""
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) != 1 or not dtypes.issubset(DTYPES):
        raise ValueError(
            f"network must have one dtype, {', '.join(map(str, DTYPES))}; got {', '.join(sorted(map(str, dtypes)))}"
        )


def _digest(description: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a description, and of the names, dtypes, shapes and bytes of tensors on the CPU."""
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description in a model file: network, schedule, training and parts; a missing part is {}.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: the file is truncated or changed, is not a model of fused-ddpm, or has a later format version.
    """
    return _read(path)[0]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of a file. The tensors are mapped: they change if the file changes."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{os.fspath(path)}: is a folder, not a model file")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(FORMAT)
            if metadata is None:
                raise ValueError(f"{os.fspath(path)!r} is not a model of fused-ddpm")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is not a complete safetensors file: {one_line(error)}") from error
    try:
        description = json.loads(metadata)
        version = descriptions.version(description)
        if version in READABLE:
            written = description.pop(DIGEST, None)
            descriptions.check(description)
            if (written is not None or version > 2) and written != _digest(description, tensors):
                raise ValueError(f"it was changed after it was written: its {DIGEST} does not match")
            return {part: {} for part in PARTS} | description, tensors
    except (ValueError, RecursionError) as error:
        raise _not_whole(path, error) from error
    readable = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
    raise ValueError(
        f"{os.fspath(path)!r} has format version {one_line(version)}; the supported versions are {readable}"
    )


def _not_whole(path: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(f"{os.fspath(path)!r} is not a complete model of fused-ddpm: {one_line(error)}")


def load(path: str | os.PathLike[str], backend: str | None = None) -> Diffusion:
    """Read a model that `ddpm.save` wrote. Training can continue from it.

    Args:
        path: the file.
        backend: name of a backend (see `ddpm.backends`), or None for the best that can run.

    Returns:
        The model, on the CPU, in the dtype in which it was saved.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: the file is truncated or changed, is not a model of fused-ddpm, has a later format version, was
            written by `ddpm.DDPM`, or is a checkpoint; or there is no such backend.
        RuntimeError: the backend cannot run here.
    """
    diffusion, parts = load_with_parts(path, backend)
    refuse_checkpoint(path, parts)
    if TABLE in parts:
        raise ValueError(f"{os.fspath(path)!r} is a model of a table: read it with ddpm.DDPM.load")
    return diffusion


def refuse_checkpoint(path: str | os.PathLike[str], parts: Mapping[str, object]) -> None:
    """Raise ValueError if a file is a checkpoint of training."""
    if parts.get(RUN):
        raise ValueError(f"{os.fspath(path)!r} is a checkpoint of training, not a model: it can only be resumed")


def load_with_parts(path: str | os.PathLike[str], backend: str | None = None) -> tuple[Diffusion, dict[str, Part]]:
    """Read a model, and the parts that other modules added to its file."""
    description, mapped = _read(path)
    tensors = {name: tensor.clone() for name, tensor in mapped.items()}
    backends.check_somewhere(backend, "cpu")  # any later error is due to the file
    try:
        diffusion = _restored(description, tensors, backend)
    except (TypeError, ValueError) as error:
        raise _not_whole(path, error) from error
    return diffusion, {part: (description[part], _of(part, tensors)) for part in PARTS if description[part]}


def _restored(description: dict[str, Any], tensors: dict[str, Tensor], backend: str | None) -> Diffusion:
    """Return the model from the description and all tensors of a file."""
    known = ("network", "optimizer", "schedule", *KINDS, *(part for part in PARTS if description[part]))
    for name in tensors:
        if name.partition(".")[0] not in known:
            raise ValueError(f"it has a tensor {name!r}, which belongs to no part")
    schedule = _schedule(_of("schedule", tensors))
    network = _network(description["network"], schedule, _of("network", tensors))
    parameters = dict(network.named_parameters())
    for name in description.get("frozen", ()):
        if name not in parameters:
            raise ValueError(f"frozen names {name!r}, which is not a parameter")
        parameters[name].requires_grad_(False)
    diffusion = Diffusion(network, schedule, backend)
    diffusion.seed = arguments.integer("seed", description["seed"], -(2**63), 2**64 - 1)
    diffusion.iteration = arguments.integer("iteration", description["iteration"], 0, 2**32)
    diffusion.optimizer_state = _optimizer_state(parameters, _of("optimizer", tensors)) or None
    kept = {kind: _of(kind, tensors) for kind in KINDS}
    diffusion.kept = {kind: _fitted(kind, weights, parameters) for kind, weights in kept.items() if weights}
    if description.get("best_loss") is not None:
        diffusion.best_loss = arguments.number("best_loss", description["best_loss"])
    return diffusion


def _schedule(tensors: dict[str, Tensor]) -> Schedule:
    if tensors.keys() != {"betas"}:
        raise ValueError(f"schedule must have only the tensor schedule.betas; got {', '.join(tensors) or 'none'}")
    if tensors["betas"].dtype != torch.float64:
        raise ValueError(f"betas must be float64; got {tensors['betas'].dtype}")
    return Schedule(tensors["betas"])


def _network(said: dict[str, Any], schedule: Schedule, tensors: dict[str, Tensor]) -> GaussianMLP:
    """Return the network with these tensors, in the dtype in which they were saved."""
    if len(said["hidden"]) > len(tensors):
        raise ValueError(f"network has {len(tensors)} tensors, too few for {len(said['hidden'])} hidden layers")
    try:
        network = _made(said, schedule)
    except RuntimeError as error:  # from torch: the number of elements of a layer overflows
        raise ValueError(f"network has layers that are too large: {error}") from error
    tensors = _fitted("network", tensors, network.state_dict())
    _check_dtypes(tensors)
    network.load_state_dict(tensors, assign=True)
    return network


def _fitted(part: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the order of `expected`.

    Raises:
        TypeError: a tensor does not have a floating dtype.
        ValueError: a name or a shape is not as expected.
    """
    missing, more = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing:
        raise ValueError(f"it has no tensor {part}.{missing[0]}")
    if more:
        raise ValueError(f"it has a tensor {part}.{more[0]}, which belongs to no layer")
    for name, tensor in tensors.items():
        _check_shape(f"{part}.{name}", tensor, expected[name].shape)
    return {name: tensors[name] for name in expected}


def _check_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    arguments.floating(name, tensor)
    if tensor.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}; got {list(tensor.shape)}")


def restore(diffusion: Diffusion, saved: Diffusion) -> None:
    """Copy weights and training state to `diffusion` from `saved`, which has the same network and schedule."""
    diffusion.network.load_state_dict(saved.network.state_dict())
    diffusion.seed, diffusion.iteration = saved.seed, saved.iteration
    diffusion.optimizer_state, diffusion.kept, diffusion.best_loss = saved.optimizer_state, saved.kept, saved.best_loss


def _of(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a part, by their names within the part."""
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def _optimizer_state(parameters: Mapping[str, Tensor], tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return AdamW's state by parameter name. The oldest files have the index of the parameter instead of its name."""
    numbered, state = (
        dict(zip(map(str, range(len(parameters))), parameters, strict=True)),
        dict[str, dict[str, Tensor]](),
    )
    for entry, tensor in tensors.items():
        name, _, key = entry.rpartition(".")
        name = numbered.get(name, name)
        if name not in parameters or key not in ADAMW:
            raise ValueError(f"it has a tensor optimizer.{entry}, which AdamW does not have")
        _check_shape(f"optimizer.{entry}", tensor, () if key == "step" else parameters[name].shape)
        state.setdefault(name, {})[key] = tensor
    for name, of in state.items():
        if of.keys() != ADAMW:
            raise ValueError(f"optimizer.{name} must have {', '.join(sorted(ADAMW))}; got {', '.join(sorted(of))}")
    return state

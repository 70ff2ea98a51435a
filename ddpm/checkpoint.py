"""Models on disk: safetensors for the numbers, readable metadata beside them, never pickle."""

import json
import os
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpm.diffusion import Diffusion
from ddpm.files import atomic_path
from ddpm.networks import GaussianMLP
from ddpm.schedule import Schedule

FORMAT, VERSION = "fused-ddpm", 1


def save(diffusion: Diffusion, path: str | os.PathLike[str]) -> None:
    """Write network, schedule, seed, iteration and the optimizer's state; an existing file is replaced whole.

    Raises:
        ValueError: the network is not a ddpm.GaussianMLP, or no longer what its constructor made.
        OSError: the file cannot be written.
    """
    network = diffusion.network
    if type(network) is not GaussianMLP:
        raise ValueError(f"only a ddpm.GaussianMLP can be saved; got {type(network).__name__}")
    if not _is_as_made(network):
        raise ValueError(
            f"network is no longer what GaussianMLP(dim={network.dim}, hidden={network.hidden}) makes, and would come "
            "back as another: only weights, dtype and requires_grad of such a network can be saved"
        )
    tensors = {f"network.{name}": p.detach() for name, p in network.named_parameters()}
    for name, state in (diffusion.optimizer_state or {}).items():
        tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
    tensors["schedule.betas"] = diffusion.schedule.betas
    description = {
        "version": VERSION,
        "network": {"dim": network.dim, "hidden": network.hidden},
        "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
        "schedule": repr(diffusion.schedule),
        "seed": int(diffusion.seed),
        "iteration": int(diffusion.iteration),
    }
    # one entry, because the order of several changes from run to run, and equal models should be equal files
    content = safetensors.torch.save(
        {name: t.contiguous() for name, t in tensors.items()}, {FORMAT: json.dumps(description)}
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _is_as_made(network: GaussianMLP) -> bool:
    """Whether `network` is one that GaussianMLP's constructor makes, but for its weights."""
    pair = network.as_mlp_pair()
    return (
        pair is not None
        and pair.activation == "relu"
        and pair.hidden == (network.hidden,) * 2
        and len(network.state_dict()) == len(pair.tensors)
        and len({tensor.data_ptr() for tensor in pair.tensors}) == len(pair.tensors)  # none is tied to another
    )


def load(path: str | os.PathLike[str], backend: str | None = None) -> Diffusion:
    """Read a model on the CPU; training can go on from it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, is not one of ours, or was written by a later version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(FORMAT)
            tensors: dict[str, Tensor] = {
                # a copy: what safetensors gives is the file itself, and changes with it
                name: file.get_tensor(name).clone()
                for name in file.keys()  # noqa: SIM118
            }
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole safetensors file: {error}") from error
    if metadata is None:
        raise ValueError(f"{os.fspath(path)!r} is not a model of fused-ddpm")
    try:
        description = json.loads(metadata)
        version = description["version"]
        if version == VERSION:
            network = GaussianMLP(description["network"]["dim"], tuple(description["network"]["hidden"]))
            weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
            network.load_state_dict(weights, assign=True)  # in the dtype that they were saved in
            for name in description.get("frozen", ()):
                network.get_parameter(name).requires_grad_(False)
            schedule = Schedule(tensors["schedule.betas"])
            seed, iteration = int(description["seed"]), int(description["iteration"])
            optimizer_state = _optimizer_state(network, tensors)
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:  # names or shapes do not fit
        raise ValueError(f"{os.fspath(path)!r} is not a whole model of fused-ddpm: {error}") from error
    if version != VERSION:
        raise ValueError(f"{os.fspath(path)!r} has format version {version}; this reads {VERSION}")
    diffusion = Diffusion(network, schedule, backend)
    diffusion.seed, diffusion.iteration = seed, iteration
    diffusion.optimizer_state = optimizer_state or None
    return diffusion


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

"""ddpm.save and ddpm.load: nothing is lost, nothing is pickled, and a bad file is named."""

import json
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import ddpm
from ddpm import checkpoint


def diffusion(backend: str = "vectorized") -> ddpm.Diffusion:
    return ddpm.Diffusion(ddpm.GaussianMLP(1, (4,), seed=1), ddpm.Schedule.linear(250, 1e-4, 0.02), backend=backend)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    ddpm.save(diffusion(), path)
    return path


@pytest.mark.parametrize("backend", ["vectorized", "compiled", "native"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, backend: str) -> None:
    x0, path = oracle.points(50, 1), tmp_path / "model.safetensors"
    whole, first = diffusion(backend), diffusion(backend)
    losses = ddpm.train(whole, x0, steps=20, seed=5, progress=False).losses
    parts = [ddpm.train(first, x0, steps=10, seed=5, progress=False).losses]
    ddpm.save(first, path)
    second = ddpm.load(path, backend=backend)
    assert (second.seed, second.iteration) == (5, 10)
    parts.append(ddpm.train(second, x0, steps=10, seed=second.seed, progress=False).losses)
    assert torch.equal(torch.cat(parts), losses)
    for p, q in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


SCHEDULE = ddpm.Schedule.cosine(50)
NETWORKS = {
    "the tutorial's": {},
    "wide": {"dim": 5, "hidden": (33,)},
    "deep": {"dim": 2, "hidden": (8, 3), "activation": "tanh", "features": (2.0, 4.5)},
    "of everything": {"hidden": (8, 8), "preconditioned": SCHEDULE, "shared": True, "dropout": 0.25},
}


@pytest.mark.parametrize("arguments", NETWORKS.values(), ids=list(NETWORKS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_comes_back(tmp_path: Path, arguments: dict[str, Any], dtype: torch.dtype) -> None:
    model = ddpm.Diffusion(ddpm.GaussianMLP(**arguments, seed=2).to(dtype), SCHEDULE)
    ddpm.save(model, tmp_path / "model.safetensors")
    loaded = ddpm.load(str(tmp_path / "model.safetensors"))
    assert isinstance(loaded.network, ddpm.GaussianMLP)
    assert loaded.network.arguments == model.network.arguments
    assert torch.equal(loaded.schedule.betas, model.schedule.betas)
    assert loaded.backend == model.backend
    saved, found = model.network.state_dict(), loaded.network.state_dict()
    assert saved.keys() == found.keys()
    assert all(torch.equal(saved[name], found[name]) for name in saved)
    assert torch.equal(model.sample(5), loaded.sample(5))


def test_weights_beside_those_of_the_network(tmp_path: Path) -> None:
    model, path = diffusion(), tmp_path / "model.safetensors"
    ddpm.train(model, oracle.points(20, 1), steps=3, progress=False, ema_decay=0.9, validation=oracle.points(5, 1))
    model.best_loss = 0.25
    ddpm.save(model, path)
    loaded = ddpm.load(path)
    assert loaded.best_loss == 0.25
    assert loaded.kept.keys() == model.kept.keys() == {"average", "trained"}
    for kind, weights in model.kept.items():
        assert all(torch.equal(loaded.kept[kind][name], value) for name, value in weights.items())


def test_a_file_of_the_first_version(path: Path) -> None:
    tensors, said = contents(path)
    first = said | {"version": 1, "network": {"dim": 1, "hidden": [4]}}
    save_file(tensors, path, {"fused-ddpm": json.dumps(first)})
    assert torch.equal(ddpm.load(path, "vectorized").sample(5), diffusion().sample(5))


def test_metadata_is_readable(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    said = json.loads(metadata["fused-ddpm"])
    assert said["network"] == {
        **{"dim": 1, "hidden": [4], "activation": "relu", "features": []},
        **{"shared": False, "condition_dim": 0, "dropout": 0.0, "preconditioned": False},
    }
    assert (said["version"], said["seed"], said["iteration"]) == (3, 0, 0)
    assert len(said["sha256"]) == 64
    assert "steps=250" in said["schedule"]


def test_equal_models_are_equal_files(tmp_path: Path, path: Path) -> None:
    ddpm.save(diffusion(), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model file .*missing\.safetensors"):
        ddpm.load(tmp_path / "missing.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder, not a model file"):
        ddpm.load(tmp_path)


# nothing, half of the length of the header, half of the header, all but one byte
@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors' is not a complete safetensors file"):
        ddpm.load(path)


def test_text_is_not_a_model(path: Path) -> None:
    path.write_text("1,2\n3,4\n" * 100)
    with pytest.raises(ValueError, match=r"model\.safetensors' is not a complete safetensors file"):
        ddpm.load(path)


def test_a_foreign_model(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors' is not a model of fused-ddpm"):
        ddpm.load(path)


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a file, and its description in format version 2, which had no SHA-256."""
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["fused-ddpm"])
        del said["sha256"]
        return {name: file.get_tensor(name) for name in file.keys()}, said | {"version": 2}  # noqa: SIM118


def test_a_file_of_the_second_version(path: Path) -> None:
    tensors, said = contents(path)
    save_file(tensors, path, {"fused-ddpm": json.dumps(said)})
    assert torch.equal(ddpm.load(path, "vectorized").sample(5), diffusion().sample(5))


def test_a_changed_file_is_refused(path: Path) -> None:
    tensors, said = contents(path)
    with safe_open(path, framework="pt") as file:
        now = json.loads(file.metadata()["fused-ddpm"])
    other = {**tensors, "network.mean.0.bias": tensors["network.mean.0.bias"] + 1}
    save_file(tensors, path, {"fused-ddpm": json.dumps(now, indent=1)})  # other bytes of the same content
    ddpm.load(path)
    for held, says in ((other, now), (tensors, now | {"seed": 3}), (tensors, said | {"version": 3})):
        save_file(held, path, {"fused-ddpm": json.dumps(says)})
        for read in (ddpm.load, checkpoint.describe):
            with pytest.raises(ValueError, match=r"model\.safetensors'.* was changed after it was written.* sha256"):
                read(path)


def test_a_later_version(path: Path) -> None:
    tensors, said = contents(path)
    save_file(tensors, path, {"fused-ddpm": json.dumps(said | {"version": 4})})
    with pytest.raises(
        ValueError, match=r"model\.safetensors' has format version 4; the supported versions are 1, 2 and 3"
    ):
        ddpm.load(path)


@pytest.mark.parametrize("missing", ["version", "network", "seed", "iteration"])
def test_missing_metadata(path: Path, missing: str) -> None:
    tensors, said = contents(path)
    del said[missing]
    save_file(tensors, path, {"fused-ddpm": json.dumps(said)})
    with pytest.raises(ValueError, match=rf"model\.safetensors' is not a complete model of fused-ddpm.*{missing}"):
        ddpm.load(path)


def test_the_first_files_number_their_optimizer_state(path: Path) -> None:
    model, x0 = diffusion(), oracle.points(50, 1)
    ddpm.train(model, x0, steps=2, progress=False)
    ddpm.save(model, path)
    tensors, said = contents(path)
    numbers = {name: i for i, (name, _) in enumerate(model.network.named_parameters())}

    def numbered(entry: str) -> str:
        kind, _, rest = entry.partition(".")
        name, _, key = rest.rpartition(".")
        return f"optimizer.{numbers[name]}.{key}" if kind == "optimizer" else entry

    save_file({numbered(entry): t for entry, t in tensors.items()}, path, {"fused-ddpm": json.dumps(said)})
    loaded = ddpm.load(path, "vectorized")
    for each in (model, loaded):
        ddpm.train(each, x0, steps=2, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), loaded.parameters(), strict=True))

    save_file(tensors | {"optimizer.mean.0.bias.exp_avg": torch.zeros(3)}, path, {"fused-ddpm": json.dumps(said)})
    with pytest.raises(ValueError, match=r"model\.safetensors.*exp_avg must have shape \[4\]; got \[3\]"):
        ddpm.load(path)


def test_missing_tensors(path: Path) -> None:
    tensors, said = contents(path)
    metadata = {"fused-ddpm": json.dumps(said)}
    save_file({name: t for name, t in tensors.items() if name != "schedule.betas"}, path, metadata)
    with pytest.raises(ValueError, match=r"model\.safetensors' is not a complete model of fused-ddpm.*schedule\.betas"):
        ddpm.load(path)
    save_file({name: t for name, t in tensors.items() if not name.endswith("bias")}, path, metadata)
    with pytest.raises(
        ValueError, match=r"model\.safetensors' is not a complete model of fused-ddpm.*no tensor network\.mean\.0\.bias"
    ):
        ddpm.load(path)


@pytest.mark.parametrize("betas", [torch.tensor([0.1, 1.5]).double(), torch.zeros(0).double(), torch.tensor([1])])
def test_impossible_betas_name_the_file(path: Path, betas: torch.Tensor) -> None:
    tensors, said = contents(path)
    save_file(tensors | {"schedule.betas": betas}, path, {"fused-ddpm": json.dumps(said)})
    with pytest.raises(ValueError, match=r"model\.safetensors.*betas must"):
        ddpm.load(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hidden": [2**24]}, r"network\.mean\.0\.bias must have shape \[16777216\]; got \[4\]"),
        ({"hidden": [4] * 1000}, "8 tensors, too few for 1000 hidden layers"),
        ({"hidden": [10**9]}, "hidden must be from 1 to 16777216; got 1000000000"),
        ({"hidden": "4"}, r"description\.network\.hidden must be a list; got '4'"),
        ({"dim": 2**24, "hidden": [2**24], "features": [1.0] * 10**5}, "layers that are too large"),
        ({"dropout": 10**400}, "dropout must be a number"),
        ({"width": 3}, "has an entry 'width', which is not known"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_a_network_that_its_tensors_are_not(path: Path, changed: dict[str, Any], said: str) -> None:
    tensors, description = contents(path)
    description["network"] |= changed
    save_file(tensors, path, {"fused-ddpm": json.dumps(description)})
    with pytest.raises(ValueError, match=rf"model\.safetensors' is not a complete model of fused-ddpm.*({said})"):
        ddpm.load(path)


def test_a_network_of_several_dtypes_is_not_saved(tmp_path: Path) -> None:
    model = diffusion()
    model.network.get_submodule("std").double()
    with pytest.raises(ValueError, match=r"one dtype, .*; got torch\.float32, torch\.float64"):
        ddpm.save(model, tmp_path / "model.safetensors")


def test_a_failed_save_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        ddpm.save(diffusion(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_other_networks_cannot_be_saved(tmp_path: Path) -> None:
    class Other(torch.nn.Module):
        dim = 1

    with pytest.raises(ValueError, match=r"only a ddpm\.GaussianMLP can be saved; got Other"):
        ddpm.save(ddpm.Diffusion(Other(), ddpm.Schedule.constant(5, 0.1)), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_unknown_backend_is_named(path: Path) -> None:
    with pytest.raises(ValueError, match=r"backend must be one of .*got 'jax'"):
        ddpm.load(path, backend="jax")

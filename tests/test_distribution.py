"""The wheel: it holds all that the package needs, and runs where nothing but its required dependencies is installed."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("ddpm", "kernels")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist, as `make dist` does."""
    pytest.importorskip("build")
    source = tmp_path_factory.mktemp("source")  # building writes into the tree
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    call(sys.executable, "-m", "build", "--no-isolation", source)
    (path,) = (source / "dist").glob("*.whl")
    return path


def call(*command: str | Path, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | environment
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def required(requirements: list[str]) -> Iterator[metadata.Distribution]:
    """Yield the distributions that `requirements` need without any extra, and those that these need in turn."""
    seen, todo = set(), [Requirement(each) for each in requirements]
    while todo:
        each = todo.pop()
        if each.name in seen or (each.marker is not None and not each.marker.evaluate({"extra": ""})):
            continue
        seen.add(each.name)
        found = metadata.distribution(each.name)
        yield found
        todo += [Requirement(text) for text in found.requires or []]


def test_the_wheel_holds_sources_and_types_and_no_tests(wheel: Path) -> None:
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".h", ".cpp") or path.name == "py.typed"
    }
    assert held == source


def test_the_wheel_runs_the_demo_without_extras(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    packages = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (info,) = packages.glob("fused_ddpm-*.dist-info")
    for distribution in required(metadata.PathDistribution(info).requires or []):
        # links instead of another download of torch
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(distribution.locate_file(top)))
    call(python, "-c", "import importlib.util; assert importlib.util.find_spec('sklearn') is None")

    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # an empty one, so that `native` is built from the wheel
    backends = call(tmp_path / "venv" / "bin" / "ddpm", "backends", **cache)
    said = call(tmp_path / "venv" / "bin" / "ddpm", "demo", "--out", tmp_path / "demo", **cache)
    assert {path.name for path in (tmp_path / "demo").iterdir()} >= {"samples.png", "samples.npy", "model.safetensors"}
    assert (said.split()[1] == "native") == bool(re.search(r"^native +available$", backends, re.MULTILINE))

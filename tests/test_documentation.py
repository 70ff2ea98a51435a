"""Every code block of the README and of the pages is run, and every command in it; every link leads somewhere."""

import importlib.util
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from torch.distributed.run import get_args_parser

from benchmarks.__main__ import command as benchmarks
from ddpm.commands import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"python", "sh", "bash", "{code-cell} python"}

# what would take an hour here; the names of parts have the number of all
SMALLER = {
    "10_000_000_000": "2_000",
    "1_000_000_000": "2_000",
    "of-09537": "of-00001",
    "steps=100_000": "steps=20",
    "range(20)": "range(2)",
    "moons(1000)": "moons(50)",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def runnable(page: Path) -> list[tuple[str, str]]:
    found = []
    for language, text in blocks(page):
        for large, small in SMALLER.items():
            text = text.replace(large, small)
        found.append((language, text))
    return [block for block in found if block[0] in LANGUAGES]


def test_blocks_have_a_language_that_is_known() -> None:
    for page in PAGES:
        for language, _ in blocks(page):
            assert language in LANGUAGES | {"text"} or re.match(r"\{(?!code)", language), f"{page}: {language}"
        bare = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^(```|    \S)", bare, re.MULTILINE), f"{page} has code that is not in a fenced block"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a page is read: with the files that its reader has."""
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    monkeypatch.chdir(tmp_path)
    iris = sklearn_datasets.load_iris(as_frame=True).frame.rename(columns={"target": "species"})
    iris[::2].to_csv("iris.csv", index=False)
    iris[1::2].to_csv("fresh.csv", index=False)
    iris.to_parquet("data.parquet")
    for name in ("BEFORE.json", "AFTER.json", "RESULT.json"):
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.stem)
def test_every_block_runs(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for language, text in runnable(page):
        if language in ("python", "{code-cell} python"):
            exec(compile(text.replace("%matplotlib inline\n", ""), str(page), "exec"), names)
        elif language == "sh":
            for words in commands(text):
                run(words)
        else:
            run(started_by_slurm(text, folder))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each line of a shell, without what is set for it alone."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
            words.pop(0)
        if words:
            yield words


def started_by_slurm(script: str, folder: Path) -> list[str]:
    """The command that a job of SLURM starts: the script is run by bash, where `srun` only tells its arguments."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, does in {"srun": 'printf "%s\\n" "$@"', "scontrol": "echo localhost"}.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{does}\n")
        (folder / "bin" / name).chmod(0o755)
    job = {"SLURM_NNODES": "1", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_NODELIST": "here"}
    environment = os.environ | job | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-eu", "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def run(words: list[str]) -> None:
    """Run a command as far as it can be here; that several processes make one run is tested elsewhere."""
    match words:
        case ["ddpm", *arguments]:
            if "--out" in arguments and (out := Path(arguments[arguments.index("--out") + 1])).is_file():
                out.unlink()  # a page shows several commands for one file
            assert main(arguments) == 0
        case ["torchrun", *arguments]:
            options = get_args_parser().parse_args(arguments)
            assert options.module
            run([options.training_script, *options.training_script_args])
        case ["python", "-m", "benchmarks", name, *arguments]:
            found = benchmarks.commands[name]
            found.make_context(name, list(arguments), parent=click.Context(benchmarks))
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module) is not None  # pytest has put tests/ on the path
        case ["make", *arguments]:
            assert subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True).returncode == 0
        case _:
            raise AssertionError(f"nothing here runs {shlex.join(words)}")


def test_extras_that_pages_install_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra
        for page in PAGES
        for inside in re.findall(r"pip install '?[\w.-]+\[([\w,]+)\]", page.read_text())
        for extra in inside.split(",")
    }
    assert "tables" in named
    assert named <= extras.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_files_that_pages_name_exist() -> None:
    named = {
        (page.name, path)
        for page in PAGES
        for path in re.findall(r"`((?:kernels|ddpm|benchmarks|tests|docs)/[\w/.]+)`", page.read_text())
    }
    assert len(named) > 10
    assert [(page, path) for page, path in named if not (ROOT / path).exists()] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120

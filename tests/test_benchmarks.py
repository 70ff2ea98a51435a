"""The benchmark suite: every case once with every rival that is installed, and the errors for bad input."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import comparison, report, results, rivals
from benchmarks.__main__ import command
from benchmarks.cases import AXES, DEVICES, OPS, Case, cases

ROOT = Path(__file__).parents[1]
# all but `compiled`, which other tests compare at length; torch.compile leaves functions as they are, to save a minute
EAGER = {"TORCH_COMPILE_DISABLE": "1"}
NAMES = [name for name in rivals.RIVALS if name != "compiled"]
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "benchmarks", "run", "--tiny", "--out", str(folder), *options]
    # pytest-benchmark would not measure if it saw the variables of a worker of pytest
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | EAGER
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def only_result(folder: Path) -> Path:
    (path,) = folder.glob("*.json")
    return path


def test_every_case_once(tmp_path: Path) -> None:
    run = start(tmp_path, *(word for name in NAMES for word in ("--rival", name)))
    output, _ = run.communicate()
    assert run.returncode == 0, output
    result = results.read(only_result(tmp_path))
    measured = {(case.op, name) for (case, _), by_rival in result.timed.items() for name in by_rival}
    for name in NAMES:
        if rivals.gap(name, next(cases("noise", "tiny", "cpu")), "tiny") is None:
            functions = {op: "train_and_sample" if op == "tutorial" else op for op in OPS}
            assert {op for op, f in functions.items() if hasattr(rivals.load(name), f)} == {
                op for op, rival in measured if rival == name
            }
        else:
            assert name in {gap["rival"] for gap in result.document["gaps"]}
    for case, start_ in result.timed:
        assert start_ in (("cold", "warm") if case.op == "tutorial" else ("",))
    table = only_result(tmp_path).with_suffix(".md").read_text()
    assert all(report.words(op) in table for op in OPS)


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    run = start(tmp_path, "--op", "noise", "--op", "reverse_process", "--rival", "tutorial", "--rival", "vectorized")
    assert run.stdout is not None
    seen = ""
    while not re.search(r"^\.", seen, re.MULTILINE):  # one case is measured
        seen += (character := run.stdout.read(1))
        assert character, seen
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate()
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    result = results.read(only_result(tmp_path))
    assert 1 <= sum(len(by_rival) for by_rival in result.timed.values()) < 4
    assert only_result(tmp_path).with_suffix(".md").exists()


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (("run", "--op", "nois"), OPS),
        (("run", "--rival", "numpy"), rivals.RIVALS),
        (("run", "--device", "tpu"), DEVICES),
        (("run", "--fast"), ("--fast",)),
        (("compare", "missing.json", "missing.json"), ("missing.json",)),
    ],
)
def test_unknown_names_are_listed(arguments: tuple[str, ...], listed: tuple[str, ...]) -> None:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert all(word in done.output for word in listed)


def test_another_file_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(click.ClickException, match=r"a\.json is not a result"):
        results.read(tmp_path / "a.json")


@pytest.mark.parametrize("size", ["short", "full"])
@pytest.mark.parametrize("op", OPS)
def test_no_case_twice_and_each_on_one_axis(op: str, size: str) -> None:
    found = list(cases(op, size, "cpu"))
    assert len(set(found)) == len(found)
    assert found[0] == Case(op)
    for case in found[1:]:
        assert sum(getattr(case, axis) != getattr(Case(op), axis) for axis in "NTDH") == 1


def test_no_benchmark_is_longer_than_its_kernel() -> None:
    def length(*paths: Path) -> int:
        return sum(len(path.read_text().splitlines()) for path in paths)

    for op in AXES:
        kernel = "variational_bound" if op == "training_step" else op
        assert length(ROOT / "benchmarks" / f"bench_{op}.py") <= length(*(ROOT / "kernels" / kernel).glob("*.py"))


def slower(path: Path, folder: Path, factor: float) -> Path:
    """Write a copy of a result in which the bound on `compiled` takes `factor` times as long, and return its path."""
    document = json.loads(path.read_text())
    for entry in document["benchmarks"]:
        if entry["extra_info"]["op"] == "variational_bound" and entry["extra_info"]["rival"] == "compiled":
            entry["stats"]["data"] = [factor * seconds for seconds in entry["stats"]["data"]]
    target = folder / "after.json"
    target.write_text(json.dumps(document))
    return target


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_comparison(path: Path, tmp_path: Path) -> None:
    assert "0 slower and 0 faster" in comparison.table(path, path)
    table = comparison.table(path, slower(path, tmp_path, 10.0))  # more than the noise of any row
    changed = [line for line in table.splitlines() if " slower " in line and "->" in line]
    assert len(changed) == sum(
        "compiled" in by_rival
        for (case, _), by_rival in results.read(path).timed.items()
        if case.op == "variational_bound"
    )
    assert all("10.00x" in line and "variational_bound" in line for line in changed)


def test_readme_and_docs_show_a_committed_result_of_a_clean_tree() -> None:
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/benchmarks.md"))
    shown = [path for path in COMMITTED if report.in_docs(results.read(path)) in page]
    assert len(shown) == 1
    result = results.read(shown[0])
    assert report.in_readme(result) in readme
    assert not result.document["commit_info"]["dirty"]


def test_the_times_on_a_gpu_are_those_of_committed_results() -> None:
    timed = {}
    for path in COMMITTED:
        for (case, _), by_rival in results.read(path).timed.items():
            if case.device == "cuda":
                timed[report.words(case.op), case.N] = by_rival
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    rows = re.findall(r"^\| ([\w ]+), ([\d,]+) points \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for work, points, cells in rows:
        assert cells.split(" | ") == report.fastest(timed[work, int(points.replace(",", ""))])


def test_a_result_of_a_tree_with_changes_is_not_shown(tmp_path: Path) -> None:
    document = json.loads(COMMITTED[0].read_text())
    document["commit_info"]["dirty"] = True
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(click.ClickException, match="measured on a tree with changes"):
        report.write_into_readme(tmp_path / "result.json", tmp_path)

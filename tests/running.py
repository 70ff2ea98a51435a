"""The command in tests: options that make it quick, a call that must go well, and one that must not."""

import re
from pathlib import Path

import pytest

from ddpm.commands import main

FAST = ["--backend", "vectorized"]
TUTORIAL = ["--tutorial", *FAST]
SHORT = ["--steps", "30", "--timesteps", "20", "--hidden", "8,8"]


def run(*arguments: str | Path | int) -> None:
    assert main(list(map(str, arguments))) == 0


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Check that a command fails with exit code 2 and one line, and return the text of the line."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    match = re.fullmatch(r"ddpm(?: \(rank \d+\))?: error: (.+)\n", captured.err)
    assert match, captured.err
    return match[1]

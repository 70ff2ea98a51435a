"""The command in tests: options that make it quick, and a call that must go well."""

from pathlib import Path

from ddpm.commands import main

FAST = ["--backend", "vectorized"]
TUTORIAL = ["--tutorial", *FAST]
SHORT = ["--steps", "30", "--timesteps", "20", "--hidden", "8,8"]


def run(*arguments: str | Path | int) -> None:
    assert main(list(map(str, arguments))) == 0

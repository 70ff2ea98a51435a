"""A small run of samples in parts, for tests: its size, the command and its folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PART, CHUNK = (16, 2**24), (8, 2**20)
NO_MODEL = "0" * 64
COUNT, FIRST, PARTS = 100, 7, 7  # the last part has 4 rows
OPTIONS: dict[str, Any] = {"first": FIRST, "seed": 1, "backend": "vectorized"}
COMMAND = ["--count", str(COUNT), "--first", str(FIRST), "--seed", "1", "--backend", "vectorized"]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def process(model: Path, folder: Path, *arguments: str, before: str = "") -> "subprocess.Popen[str]":
    """Start the command with small parts; `before` is run first."""
    line = ["sample", str(model), "--out", f"{folder}/", *COMMAND, *arguments]
    code = (
        "import os, sys; from ddpm import sampling; from ddpm.commands import main\n"
        f"sampling.PART, sampling.CHUNK = {PART}, {CHUNK}\n{before}\nsys.exit(main({line}))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

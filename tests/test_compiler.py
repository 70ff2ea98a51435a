"""Compiled functions are cached on disk, and a function whose file is damaged or outdated is compiled again."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kernels import backends
from kernels.compiled import compiler
from kernels.compiled.compiler import Kernel

pytestmark = pytest.mark.skipif(
    not compiler.AHEAD_OF_TIME or backends.get("compiled").missing("cpu") is not None,
    reason="this torch cannot save whole functions, or there is no compiler",
)


def twice_plus(x: Tensor, y: Tensor) -> Tensor:
    return 2 * x + y


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    return tmp_path / "fused_ddpm"


def fails(*arguments: object, **options: object) -> None:
    raise AssertionError("compiled again")


def call(size: int = 100) -> None:
    x, y = torch.randn(2, size)
    torch.testing.assert_close(Kernel(twice_plus)(x, y), 2 * x + y)


def test_a_second_kernel_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    (kept,) = folder.iterdir()
    monkeypatch.setattr(torch, "compile", fails)
    call()
    with pytest.raises(AssertionError, match="compiled again"):
        call(size=101)  # another shape is another function
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(AssertionError, match="compiled again"):
        call()
    monkeypatch.undo()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder.parent))
    call()
    assert kept.stat().st_size > 1000
    assert len(list(folder.iterdir())) == 1


def test_code_of_another_version_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    monkeypatch.setattr(compiler, "source_of_kernels", lambda: "another")
    call()
    assert len(list(folder.iterdir())) == 2


def test_subnormal_numbers_stay(folder: Path) -> None:
    assert not compiler.flushes_subnormals()
    call()
    assert not compiler.flushes_subnormals()
    call()  # this call loads it from disk
    assert not compiler.flushes_subnormals()
    assert torch.set_flush_denormal(True)
    try:
        call(101)
        assert compiler.flushes_subnormals()  # as it was before
    finally:
        torch.set_flush_denormal(False)

"""Model files with faults, 2000 of them, or as many as FUZZ says: each gives an error that names it, or the same model.

A file without a SHA-256, as in version 2, may also give another model that works. Nothing else may happen: no other
error, no crash, no hang, and no more memory than ten times the file.
"""

import contextlib
import io
import os
import random
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mutations
import numpy as np
import oracle
import processes
import pytest
import torch
from test_checkpoints import stopped_after

import ddpm
from ddpm import commands, model_files, sample_parts

COUNT = int(os.environ.get("FUZZ", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
WORKERS = max(2, (os.cpu_count() or 2)) if COUNT > 10_000 else 2
LONGEST = 1000  # characters of an error
PATIENCE = 60  # seconds for a file, which takes milliseconds
RECORDS = 500
FAULTS = 20  # a worker stops after so many
# Bytes beyond ten times the file. READING: Python objects for JSON, torch's for tensors, what the allocators keep.
# SAMPLING: also the order of 2^20 rows of a table with classes, which a model of many rows needs as well.
READING, SAMPLING = 16 * 2**20, 256 * 2**20
CLEAR = Path("/proc/self/clear_refs")  # to write 5 to it resets the peak

SCHEDULE = ddpm.Schedule.log_snr(5)
X0 = oracle.points(20, 2)
RUN: dict[str, Any] = {"steps": 3, "seed": 3, "ema_decay": 0.9, "validation": X0[:5], "validate_every": 1}


def network() -> ddpm.Diffusion:
    made = ddpm.GaussianMLP(2, (4, 3), activation="tanh", features=(2.0,), preconditioned=SCHEDULE, seed=1)
    return ddpm.Diffusion(made, SCHEDULE, "vectorized")


def trained() -> ddpm.Diffusion:
    model = network()
    ddpm.train(model, X0, 2, progress=False, ema_decay=0.9)
    return model


def fitted(scaling: str | None) -> ddpm.DDPM:
    import pandas as pd

    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"length, cm": generator.normal(size=30).round(2), "count": generator.integers(0, 9, 30)})
    frame["constant"] = 2.5
    model = ddpm.DDPM((4,), timesteps=5, steps=2, batch_size=8, backend="vectorized", scaling=scaling, random_state=0)
    model.fit(frame, generator.choice(["a", "b"], 30))
    model.columns_ = ddpm.table_files.Columns(("length, cm", "count", "kind", "constant"), 2)
    return model


def stop_in_the_middle(path: Path) -> None:
    with stopped_after(2):
        ddpm.train(network(), X0, **RUN, progress=False, checkpoints=ddpm.Checkpoints(path, 1))


# ---- readers: each returns the model, and a function that draws two rows of it


def read_model(path: Path) -> tuple[Any, Callable[[], Any]]:
    model = ddpm.load(path, "vectorized")
    return model, partial(model.sample, 2)


def read_table(path: Path) -> tuple[Any, Callable[[], Any]]:
    model = ddpm.DDPM.load(path, "vectorized")
    return model, partial(model.sample, 2)


def read_either(path: Path) -> tuple[Any, Callable[[], Any]]:
    """Read a file of either kind, as the commands do."""
    model = model_files.load(path, "vectorized")
    return model, partial(model_files.sample, model, 2)


def read_run(path: Path) -> tuple[Any, Callable[[], Any]]:
    model = network()
    with contextlib.suppress(FloatingPointError):  # the weights that training goes on from may not be finite
        ddpm.train(model, X0, **RUN, progress=False, checkpoints=ddpm.Checkpoints(path, resume=True))
    return model, partial(model.sample, 2)


class Kind(NamedTuple):
    write: Callable[[Path], None]
    read: Callable[[Path], tuple[Any, Callable[[], Any]]]


KINDS = {
    "model": Kind(lambda path: ddpm.save(trained(), path), read_model),
    "table": Kind(lambda path: fitted("quantile").save(path), read_table),
    "plain table": Kind(lambda path: fitted(None).save(path), read_either),
    "run": Kind(stop_in_the_middle, read_run),
}


def bytes_of(model: Any, path: Path) -> bytes:
    model.save(path) if isinstance(model, ddpm.DDPM) else ddpm.save(model, path)
    return path.read_bytes()


def of_version_2(content: bytes) -> bytes:
    """Return the same file in version 2, without its SHA-256."""

    def change(text: str) -> str:
        return re.sub(r', "sha256": "[0-9a-f]{64}"', "", text).replace('"version": 3', '"version": 2')

    return mutations.said_otherwise(content, change)


# ---- one file


class Fault(Exception):
    """An outcome that no file may have."""


def check(kind: Kind, path: Path, expected: bytes | None) -> str:
    """Read a file, and return "error" or "model". If `expected` is not None, the model must have these bytes."""
    with memory_below(10 * path.stat().st_size + READING):
        describe(path)
        try:
            model, sample = kind.read(path)
        except (ValueError, OSError) as error:
            check_said(str(error), path)
            return "error"
    with memory_below(10 * path.stat().st_size + SAMPLING):
        try:
            sample()
        except ValueError as error:
            if "the samples are not finite" not in str(error) and "cannot tell T = 5 steps apart" not in str(error):
                raise
    if expected is not None and bytes_of(model, path.with_name(f"again_{path.name}")) != expected:
        raise Fault("another model")
    return "model"


def check_said(said: str, path: Path) -> None:
    """Raise Fault unless an error names the file in one line, is not too long and is not about lack of memory."""
    if path.name not in said or "\n" in said or len(said) > LONGEST or "allocate" in said:
        raise Fault(f"an error of {len(said)} characters: {said[:2000]}")


def describe(path: Path) -> None:
    """Run `ddpm info`, and check what it says."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = commands.main(["info", str(path)])
    if code:
        check_said(said.getvalue().removesuffix("\n"), path)
    elif said.getvalue():
        raise Fault(f"said {said.getvalue()}")


@contextlib.contextmanager
def memory_below(most: int) -> Iterator[None]:
    """Raise Fault if the peak of memory rises by more than `most` bytes."""
    if not CLEAR.exists():
        yield
        return
    CLEAR.write_text("5")
    before = peak()
    yield
    if peak() - before > most:
        raise Fault(f"{peak() - before} bytes of memory, more than {most}")


def peak() -> int:
    found = re.search(r"^VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


# ---- many files, in processes that may crash


def file_of(index: int, originals: dict[tuple[str, bool], bytes]) -> tuple[str, bool, bytes]:
    """Return the kind of a file with a fault, whether it is guarded by its SHA-256, and its bytes."""
    chance = random.Random(f"{SEED} {index}")
    name, guarded = chance.choice(sorted(KINDS)), chance.random() < 0.3
    return name, guarded, mutations.mutant(originals[name, guarded], chance)


def work(folder: Path, worker: int) -> None:
    """Check every file of a worker. Its log has the number of the last file that it began, and every fault."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    path, expected = folder / f"worker{worker}.safetensors", dict[str, bytes]()
    originals = dict[tuple[str, bool], bytes]()
    for name, kind in KINDS.items():  # this also imports everything before memory is measured
        content = (folder / f"{name}.safetensors").read_bytes()
        originals |= {(name, True): content, (name, False): of_version_2(content)}
        for guarded in (True, False):
            path.write_bytes(originals[name, guarded])
            describe(path)
            model, sample = kind.read(path)
            sample()
            expected[name] = bytes_of(model, path.with_name(f"again_{path.name}"))
            path.unlink()
    import resource  # POSIX only

    if data := re.search(r"^VmData:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE):
        limit = 1024 * int(data[1]) + 2**30  # so that no fault takes the machine's memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    counts = {"error": 0, "model": 0, "fault": 0}
    with open(folder / f"{worker}.log", "w") as log:
        for index in range(worker, COUNT, WORKERS):
            log.seek(0)
            log.write(f"{index:012}\n")
            log.seek(0, os.SEEK_END)
            log.flush()
            signal.alarm(PATIENCE)  # it ends the process, whatever that does
            name, guarded, content = file_of(index, originals)
            path.write_bytes(content)
            try:
                counts[check(KINDS[name], path, expected[name] if guarded else None)] += 1
            except Exception:
                counts["fault"] += 1
                log.write(f"{index}, {name}, guarded: {guarded}\n{traceback.format_exc()}")
                if counts["fault"] == FAULTS:
                    break
            path.unlink()  # new content must not go into the old file, which a tensor may still map
        signal.alarm(0)
        log.write(f"{counts['error']} {counts['model']}\n")
    raise SystemExit(counts["fault"] > 0)


@pytest.mark.skipif(os.name != "posix", reason="needs the limits of POSIX")
@pytest.mark.one_thread  # like the processes that read
def test_a_file_with_a_fault_is_an_error_or_a_model(tmp_path: Path) -> None:
    for name, kind in KINDS.items():
        kind.write(tmp_path / f"{name}.safetensors")
    workers = [processes.started(work, tmp_path, i) for i in range(WORKERS)]
    codes = processes.ended(workers, PATIENCE * (1 + COUNT / 1000))
    logs = [(tmp_path / f"{worker}.log").read_text() for worker in range(WORKERS)]
    assert codes == [0] * WORKERS, "\n".join(f"{code}: file {log}" for code, log in zip(codes, logs, strict=True))
    errors, models = (sum(int(log.split()[place]) for log in logs) for place in (1, 2))
    assert errors + models == COUNT
    assert min(errors, models) > 0.05 * COUNT  # both outcomes occur


def test_a_record_with_a_fault_is_an_error_or_the_same(tmp_path: Path) -> None:
    run, record = sample_parts.Run("0123456789abcdef" * 4, 5, 10, 1000, "npy", 128), tmp_path / sample_parts.RECORD
    sample_parts.claim(tmp_path, run)
    text = record.read_text()
    for index in range(RECORDS):
        content = mutations.of_text(text, random.Random(f"{SEED} record {index}"))
        record.write_bytes(content)
        with memory_below(10 * len(content) + READING):
            try:
                sample_parts.claim(tmp_path, run)  # if it raises nothing, the record is the same
            except (ValueError, FileExistsError) as error:
                check_said(str(error), tmp_path)

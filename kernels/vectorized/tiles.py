"""How time and samples are cut into tiles, the unit of work of the vectorized and the compiled backend.

A tile is [4, groups, columns]: element (i, k, c) is step t = start + 4 k + i + 1 of column c. The leading 4 is there
because four steps share one call of Philox. A block has `width` samples of `dim` elements. It has dim * width columns,
and element d of sample n is in column d * width + n. The shape of a tile does not depend on the number of samples: the
last block is padded, so nothing compiles twice and memory stays bounded.

Blocks begin at multiples of `width` in the stream, not in the call. A sample is always computed in the same column of
the same block. So its bits cannot depend on `first` or `count`, whatever the compiler does with the order of its sums.
A new block begins at every multiple of 2^32, so that the samples of a block have the same upper bits of the index.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kernels import schedules
from kernels.constants import STREAM_SHIFT, signed
from kernels.networks import StepTables
from kernels.place import Place

NormalTile = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
TileFunction = Callable[..., Tensor]
BoundTile = Callable[..., tuple[Tensor, Tensor]]

MAX_GROUPS = 64  # 256 steps
SCAN = 8  # groups that one unrolled scan walks through
COLUMNS = {"cpu": 1024}  # a row of a tile: 4 KiB, so that a tile of 256 steps stays in the second-level cache
COLUMNS_ELSEWHERE = 65536


@dataclass(frozen=True)
class Block:
    """Samples `sample` ... `sample + width - 1` of the stream; its `columns` are `rows` of the caller's tensor."""

    sample: int
    width: int
    dim: int
    rows: slice
    columns: slice
    device: torch.device


@dataclass(frozen=True)
class TimeTile:
    """Steps start + 1 ... start + steps, padded to 4 * groups."""

    start: int
    steps: int
    groups: int


@functools.cache
def keep_freed_memory() -> None:
    """Make glibc keep freed memory. Otherwise it returns it to the system, which zeroes each page before the next use.

    glibc keeps blocks up to the size of the largest that was ever freed, up to 32 MiB. Measured on the bound at the
    tutorial's size: 12.5 instead of 28 ms, and no page faults instead of 10,000.
    """
    torch.empty(2**25 - 4096, dtype=torch.uint8, device="cpu")


def blocks(first: int, count: int, dim: int, device: torch.device, hidden: int = 1) -> Iterator[Block]:
    """Yield the blocks of samples first ... first + count - 1. `hidden` units of a sample are kept at the same time."""
    if device.type == "cpu":
        keep_freed_memory()
    columns = COLUMNS.get(device.type, COLUMNS_ELSEWHERE)
    width = max(16, min(columns // dim, 8 * columns // hidden) // 16 * 16)
    low, end = first, first + count
    while low < end:
        sample = low - low % 2**32 % width
        high = min(sample + width, (low // 2**32 + 1) * 2**32, end)
        yield Block(sample, width, dim, slice(low - first, high - first), slice(low - sample, high - sample), device)
        low = high


@functools.cache
def time_tiles(steps: int) -> tuple[TimeTile, ...]:
    """Return tiles of equal length, as few as MAX_GROUPS allows, with a multiple of SCAN groups; steps >= 1."""
    tiles = math.ceil(steps / (4 * MAX_GROUPS))
    groups = SCAN * math.ceil(steps / (tiles * 4 * SCAN))
    return tuple(TimeTile(start, min(4 * groups, steps - start), groups) for start in range(0, steps, 4 * groups))


@functools.lru_cache(maxsize=64)
def indices(groups: int, dim: int, width: int, backwards: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return sample and dimension of every column of a tile, and group of every row: int32, [columns] and [groups]."""
    column, group = (torch.arange(n, dtype=torch.int32, device=device) for n in (dim * width, groups))
    return column % width, column // width, group.flip(0) if backwards else group


def noise(
    normal_tile: NormalTile, block: Block, tile: TimeTile, place: Place, stream: int, backwards: bool = False
) -> Tensor:
    """Return the normals of one tile, [4, groups, columns]; `backwards` reverses the order of the groups."""
    step, seed = place.step, place.seed
    known = 0 if isinstance(step, Tensor) else step
    second = block.sample >> 32 << 16 | tile.start // 4
    words = (block.sample, second, known, stream << STREAM_SHIFT, seed, seed >> 32)
    launch = torch.tensor([signed(word) for word in words], dtype=torch.int32, device=block.device)
    if isinstance(step, Tensor):
        launch[2] = step  # stays on the device
    return normal_tile(*indices(tile.groups, block.dim, block.width, backwards, block.device), launch)


def time_major(tile: Tensor, dim: int) -> Tensor:
    """Reorder a tile [4, groups, columns] to [4 * groups, dim, width], with the steps in order."""
    return tile.transpose(0, 1).reshape(-1, dim, tile.shape[-1] // dim)


def load(x: Tensor, block: Block) -> Tensor:
    """Return rows of x [N, D] as the columns of a block, [D * width]. Padding repeats a sample, so it is finite."""
    padding = (block.columns.start, block.width - block.columns.stop)
    return functional.pad(x[block.rows].T, padding, mode="replicate").reshape(-1)


@functools.lru_cache(maxsize=1024)
def clock(tile: TimeTile, steps: int, backwards: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return t / (T + 1) and the mask of t <= T of a tile's steps, [4, groups]; `backwards` reverses the groups."""
    end = tile.start + 4 * tile.groups
    step_mask = torch.arange(tile.start, end) < steps
    both = (values.view(tile.groups, 4).T for values in (schedules.times(steps, end)[tile.start :], step_mask))
    time, mask = ((values.flip(1) if backwards else values).contiguous().to(device) for values in both)
    return time, mask


def constants(
    tables: StepTables | None, tile: TimeTile, steps: int, backwards: bool, device: torch.device
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
    """Return time and mask of a tile's steps, and skip, out and scale of a network with tables: each [4, groups]."""
    time, mask = clock(tile, steps, backwards, device)
    if tables is None:
        return (time, mask), ()

    def of_tile(table: Tensor) -> Tensor:
        padded = functional.pad(table.detach()[tile.start : tile.start + tile.steps], (0, 4 * tile.groups - tile.steps))
        by_place = padded.view(tile.groups, 4).T
        return (by_place.flip(1) if backwards else by_place).contiguous()

    skip, out, scale, time = map(of_tile, tables)
    return (time, mask), (skip, out, scale)


@functools.lru_cache(maxsize=16)
def _sample_mask(width: int, low: int, high: int, device: torch.device) -> Tensor:
    index = torch.arange(width, device=device)
    return (low <= index) & (index < high)


def sample_mask(block: Block) -> Tensor:
    """Return the mask of the columns of a block that hold a sample of the caller, [width] bool."""
    return _sample_mask(block.width, block.columns.start, block.columns.stop, block.device)

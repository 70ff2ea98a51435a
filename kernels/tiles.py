"""How time and samples are cut into tiles, the unit of work of the vectorized and the compiled backend.

A tile is [4, groups, columns]: element (i, k, c) is step t = start + 4 k + i + 1 of column c. Four steps share one
call of Philox, hence the leading 4. A block of samples has `width` samples of `dim` elements, columns = dim * width,
element (d, n) in column d * width + n. The shape of a tile does not depend on the number of samples: a last block is
padded, so nothing compiles twice and memory stays bounded. Blocks begin at multiples of `width` in the stream, not in
the call: a sample is always computed in the same column of the same block, which is why its bits cannot depend on
`first` or `count`, whatever the compiler does with the order of its sums.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kernels.schedules import per_schedule, round_products

NormalTile = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
TileFunction = Callable[..., Tensor]
BoundTile = Callable[..., tuple[Tensor, Tensor]]

# streams: forward process, reverse process, x_T, data and minibatches
FORWARD, REVERSE, TERMINAL, DATA = 0, 1, 2, 3

MAX_GROUPS = 64  # 256 steps
SCAN = 8  # groups that one unrolled scan walks through
COLUMNS = {"cpu": 1024}  # a row of a tile: 4 KiB, so that a tile of 256 steps stays in the second-level cache
COLUMNS_ELSEWHERE = 65536
UNROLLED = 8  # see is_small


@dataclass(frozen=True)
class Block:
    """Samples `sample` ... `sample + width - 1` of the stream; `columns` of it are `rows` of the caller's tensor."""

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


def blocks(first: int, count: int, dim: int, device: torch.device, hidden: int = 1) -> Iterator[Block]:
    """The blocks that hold samples first ... first + count - 1; `hidden` units a sample are kept at the same time."""
    columns = COLUMNS.get(device.type, COLUMNS_ELSEWHERE)
    width = max(16, min(columns // dim, 8 * columns // hidden) // 16 * 16)
    for sample in range(first // width * width, first + count, width):
        low, high = max(sample, first), min(sample + width, first + count)
        yield Block(sample, width, dim, slice(low - first, high - first), slice(low - sample, high - sample), device)


def is_small(dim: int, hidden: int) -> bool:
    """Whether compiled kernels unroll a network's units: their code, and the time to compile it, grow with D * H."""
    return dim * hidden <= UNROLLED


@functools.cache
def time_tiles(steps: int) -> tuple[TimeTile, ...]:
    """Tiles of equal length, as few as MAX_GROUPS allows, with groups a multiple of SCAN; steps >= 1."""
    tiles = math.ceil(steps / (4 * MAX_GROUPS))
    groups = SCAN * math.ceil(steps / (tiles * 4 * SCAN))
    return tuple(TimeTile(start, min(4 * groups, steps - start), groups) for start in range(0, steps, 4 * groups))


@functools.lru_cache(maxsize=64)
def indices(groups: int, dim: int, width: int, backwards: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Sample and dimension of every column of a tile, and the group of every row: int32, [columns] and [groups]."""
    column, group = (torch.arange(n, dtype=torch.int32, device=device) for n in (dim * width, groups))
    return column % width, column // width, group.flip(0) if backwards else group


def signed(word: int) -> int:
    """The int32 with the low 32 bits of `word`."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def noise(
    normal_tile: NormalTile,
    block: Block,
    tile: TimeTile,
    *,
    seed: int,
    step: int | Tensor,
    stream: int,
    backwards: bool = False,
) -> Tensor:
    """The normals of one tile, [4, groups, columns]; `backwards` reverses the order of the groups."""
    words = (block.sample, tile.start // 4, 0 if isinstance(step, Tensor) else step, stream << 24, seed, seed >> 32)
    launch = torch.tensor([signed(word) for word in words], dtype=torch.int32, device=block.device)
    if isinstance(step, Tensor):
        launch[2] = step  # stays on the device
    return normal_tile(*indices(tile.groups, block.dim, block.width, backwards, block.device), launch)


def time_major(tile: Tensor, dim: int) -> Tensor:
    """[4, groups, columns] -> [4 * groups, dim, width], the steps in order."""
    return tile.transpose(0, 1).reshape(-1, dim, tile.shape[-1] // dim)


def load(x: Tensor, block: Block) -> Tensor:
    """Rows of x [N, D] as the columns of a block, [D * width]; padding repeats a real sample and stays finite."""
    padding = (block.columns.start, block.width - block.columns.stop)
    return functional.pad(x[block.rows].T, padding, mode="replicate").reshape(-1)


@functools.lru_cache(maxsize=1024)
def clock(tile: TimeTile, steps: int, backwards: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """t / (T + 1), and whether t <= T, of the steps of a tile, [4, groups]; `backwards` reverses the groups."""
    t = torch.arange(tile.start + 1, tile.start + 4 * tile.groups + 1).view(tile.groups, 4).T
    t = (t.flip(1) if backwards else t).contiguous().to(device)
    return (t / (steps + 1)).float(), t <= steps


class Chain(NamedTuple):
    """The constants of one time tile of the forward process; float32, padded steps change nothing.

    Attributes:
        scale, noise_scale: sqrt(1 - beta) and sqrt(beta), [4, groups, 1].
        factor: the product of the four scales of a group, [groups, 1].
        decay: [groups / SCAN, groups / SCAN + 1]: what x at the start of the tile (column 0) and what each run of
            SCAN groups adds to x at the start of every run.
    """

    scale: Tensor
    noise_scale: Tensor
    factor: Tensor
    decay: Tensor


@per_schedule
def chains(betas: Tensor, device: torch.device) -> tuple[Chain, ...]:
    """The constants of every time tile."""
    return tuple(_chain(betas.double().cpu(), tile, device) for tile in time_tiles(len(betas)))


def _chain(betas: Tensor, tile: TimeTile, device: torch.device) -> Chain:
    padded = torch.zeros(4 * tile.groups, dtype=torch.float64)
    padded[: tile.steps] = betas[tile.start : tile.start + tile.steps]
    scale = torch.sqrt(1 - padded)
    runs = scale.view(-1, 4 * SCAN).prod(dim=1)
    decay = torch.zeros(len(runs), len(runs) + 1, dtype=torch.float64)
    for s in range(len(runs)):
        for r in range(s + 1):
            decay[s, r] = runs[r:s].prod()

    def tile_rows(values: Tensor) -> Tensor:
        return values.float().view(tile.groups, 4, 1).transpose(0, 1).contiguous().to(device)

    return Chain(
        scale=tile_rows(round_products(scale)),
        noise_scale=tile_rows(torch.sqrt(padded)),
        factor=round_products(scale.view(-1, 4).prod(dim=1)).view(-1, 1).to(device),
        decay=decay.float().to(device),
    )


@functools.lru_cache(maxsize=16)
def _valid(width: int, low: int, high: int, device: torch.device) -> Tensor:
    index = torch.arange(width, device=device)
    return (low <= index) & (index < high)


def valid(block: Block) -> Tensor:
    """Which columns of a block hold a sample of the caller, [width] bool."""
    return _valid(block.width, block.columns.start, block.columns.stop, block.device)

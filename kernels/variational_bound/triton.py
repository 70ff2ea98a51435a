"""The variational bound and every gradient in one launch, and a small second launch that adds up the results.

Every program adds up its own part in registers and writes it once. The second launch adds the parts in float64, in
order, so that the same call gives the same bits. Two kernels share the work (see kernels.triton.sizes):
triton_unrolled for small networks, triton_wide for larger ones. Neither noise nor trajectory is written to memory.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.networks import MLPPair
from kernels.place import Place
from kernels.schedules import bound_constant
from kernels.triton import launch, schedules, sizes
from kernels.triton.launch import AS_WRITTEN, OPTIONS, UNSPECIALIZED
from kernels.variational_bound.triton_unrolled import unrolled_kernel
from kernels.variational_bound.triton_wide import wide_kernel


@triton.jit(do_not_specialize=UNSPECIALIZED)
def mean_kernel(partial_ptr, found_ptr, constant_ptr, programs, count, steps, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """Sum each row of partial [P + 1, programs] and divide by N D (T + 1). The last row is the bound."""
    row = tl.program_id(0)
    elements = count.to(tl.float64) * DIM
    sums = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, programs, BLOCK):
        at = start + tl.arange(0, BLOCK)
        sums += tl.load(partial_ptr + row * programs + at, mask=at < programs, other=0.0).to(tl.float64)
    total = tl.sum(sums)
    if row == tl.num_programs(0) - 1:
        total = tl.fma(tl.load(constant_ptr), elements, total)
    tl.store(found_ptr + row, (total / (elements * (steps + 1).to(tl.float64))).to(tl.float32))


def bound_and_gradients(pair: MLPPair, x0: Tensor, betas: Tensor, place: Place) -> Tensor:
    """Return all gradients, flat in the order of the tensors, then the bound in nats divided by T + 1: [P + 1].

    Raises:
        ValueError: there are more elements than the kernels can count.
    """
    count, dim = x0.shape
    weights, (hidden,), steps, device = pair.values, pair.hidden[0], len(betas), x0.device
    sizes.check_elements(count * dim)
    words, constants = launch.words_at(place), schedules.steps(betas, device)
    tables, size = schedules.tables(steps, pair.tables, device), sum(w.numel() for w in weights)
    most = launch.warps(device)
    with launch.on(device):
        if sizes.is_unrolled(dim, hidden, pair.tables is not None):
            groups = 1 if count >= sizes.MANY else sizes.LANES
            block = sizes.LANES // groups
            # With a sample for each lane a program takes long. More programs than can run at a time leave less of the
            # device idle at the end.
            before = place.before_carry(count)
            grid = (min(triton.cdiv(count, block), 3 * most if groups == 1 else most), 1 if before == count else 2)
            partial = torch.empty(size + 1, grid[0] * grid[1], dtype=torch.float32, device=device)
            unrolled_kernel[grid](
                x0, partial, constants.scale, constants.noise_scale, constants.factor, *tables, *weights, count, before,
                steps, **words, D=dim, H=hidden, BLOCK_N=block, GROUPS=groups, **OPTIONS
            )  # fmt: skip
        else:
            wide, all_groups = sizes.wide_sizes(dim, hidden), triton.cdiv(steps, 4)
            blocks = min(triton.cdiv(count, wide["BLOCK_N"]), most)
            # if samples are few, several programs share a block of them: each has a segment of the time
            segment = triton.cdiv(all_groups, max(1, most // blocks))
            grid = (blocks, triton.cdiv(all_groups, segment))
            partial = torch.empty(size + 1, grid[0] * grid[1], dtype=torch.float32, device=device)
            wide_kernel[grid](
                x0, partial, constants.scale, constants.noise_scale, *tables, *weights, count, steps, segment,
                **words, **wide, **OPTIONS
            )  # fmt: skip
        found = torch.empty(size + 1, dtype=torch.float32, device=device)
        mean_kernel[(size + 1,)](
            partial,
            found,
            bound_constant(betas, device),
            partial.shape[1],
            count,
            steps,
            DIM=dim,
            BLOCK=1024,
            **AS_WRITTEN,
        )
    return found

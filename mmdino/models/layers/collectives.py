"""Sums and rows of all ranks, with and without gradients.

The gradient of a collective is that of the sum of the losses of all ranks. After the average that
``DistributedDataParallel`` takes, the gradient is thus that of the mean of the ranks' losses, as in
one process with the whole batch. Not by ``torch.distributed.nn``, which is deprecated in part.
"""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor
from torch.autograd.function import FunctionCtx


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sums tensors of equal shape over the ranks, with gradient; one rank gets ``x`` itself."""
    return x if get_world_size() == 1 else _SumOverRanks.apply(x)


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """Concatenates the rows (B, ...) of all ranks, without gradient.

    Args:
        x: Rows of this rank. All ranks must have equally many.

    Returns:
        Rows (W * B, ...) of the W ranks, those of rank r from r * B on.
    """
    return x.detach() if get_world_size() == 1 else torch.cat(all_gather(x.contiguous()))


def gather_with_grad(x: Tensor) -> Tensor:
    """Concatenates the rows of all ranks as :func:`gather` does, with gradient."""
    return x if get_world_size() == 1 else _GatherOverRanks.apply(x)


def own_rows(batch_size: int) -> slice:
    """Returns where the B rows of this rank are among those that :func:`gather` returns."""
    start = get_rank() * batch_size
    return slice(start, start + batch_size)


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        return _SumOverRanks.apply(grad)


class _GatherOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.rows = own_rows(len(x))
        return gather(x)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        return _SumOverRanks.apply(grad)[ctx.rows]

"""Stochastic depth of residual branches, sample by sample or with a fixed number of samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmdino.models.layers.precision import HALF, at_least_float32


class StochasticDepth(DropPath):
    """mmcv's ``DropPath`` with one pass, where that makes two, and the same draws.

    The samples are divided, dropped ones by infinity, giving 0; on a CPU, results and gradients are
    bit-equal. A branch in half precision is multiplied in float32 as it is added to tokens in
    float32. Elsewhere half precision uses mmcv's own: a divisor in that precision would be off by
    up to 0.4 %.

    Args:
        drop_prob: Probability that a sample's path is dropped in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drops the paths of some samples of x (B, ...) and scales the others up."""
        if not self.training or self.drop_prob == 0 or x.dtype in HALF:
            return super().forward(x)
        kept = self._draw_kept(x, (len(x),) + (1,) * (x.dim() - 1))
        return x / ((1 - self.drop_prob) / kept)

    def _draw_kept(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draws which samples keep their path, 1, in the precision of a tensor."""
        drawn = torch.rand(shape, dtype=like.dtype, device=like.device)
        return (1 - self.drop_prob + drawn).floor_()

    def residual(
        self, x: Tensor, branch: Callable[[Tensor], Tensor], source: Tensor | None = None
    ) -> Tensor:
        """Adds a branch to x (B, ...), for some samples only.

        Args:
            x: What the branch is added to.
            branch: The branch.
            source: What the branch sees (B, ...); x by default.
        """
        added = branch(x if source is None else source)
        dropping = self.training and self.drop_prob > 0
        if not dropping or added.dtype not in HALF or added.dtype == x.dtype:
            return x + self(added)
        factors = self.factors(added, len(added)).view(-1, *(1,) * (added.dim() - 1))
        return torch.addcmul(x, added.to(x.dtype), factors)

    def factors(self, like: Tensor, num_samples: int) -> Tensor:
        """Draws what the branch of each sample is multiplied by (B, 1), in float32 at least.

        Args:
            like: What is multiplied; numbers are drawn in its precision, as by :meth:`forward`.
            num_samples: Number B of samples.
        """
        dtype = at_least_float32(like[:0]).dtype
        if not self.training or self.drop_prob == 0:
            return like.new_ones(num_samples, 1, dtype=dtype)
        return self._draw_kept(like, (num_samples, 1)).to(dtype).div_(1 - self.drop_prob)


class RowStochasticDepth(nn.Module):
    """Stochastic depth that computes a branch for a random subset of the samples alone.

    As the authors of DINOv2 have it: of b samples, s = max(int(b (1 - rate)), 1) are kept, and
    their branch counts b / s times. The dropped samples cost nothing, so it is faster than
    :class:`StochasticDepth`.

    Args:
        drop_prob: Rate of dropped samples in training.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def extra_repr(self) -> str:
        """Returns the rate."""
        return f"drop_prob={self.drop_prob}"

    def residual(
        self, x: Tensor, branch: Callable[[Tensor], Tensor], source: Tensor | None = None
    ) -> Tensor:
        """Adds a branch to x (B, ...), for some samples only, as in :class:`StochasticDepth`."""
        source = x if source is None else source
        if not self.training or self.drop_prob == 0:
            return x + branch(source)
        rows = kept_rows(len(x), self.drop_prob, x.device)
        # Not source[rows], whose gradient a GPU sorts the rows for.
        added = branch(source.index_select(0, rows)).to(x.dtype)
        return x.index_add(0, rows, added, alpha=len(x) / len(rows))

    def factors(self, like: Tensor, num_samples: int) -> Tensor:
        """Draws what the branch of each sample is multiplied by, as :class:`StochasticDepth`."""
        dtype = at_least_float32(like[:0]).dtype
        if not self.training or self.drop_prob == 0:
            return like.new_ones(num_samples, 1, dtype=dtype)
        rows = kept_rows(num_samples, self.drop_prob, like.device)
        factors = like.new_zeros(num_samples, 1, dtype=dtype)
        return factors.index_fill_(0, rows, num_samples / len(rows))


def kept_rows(num_rows: int, drop_prob: float, device: torch.device | str = "cpu") -> Tensor:
    """Draws the indices (s,) of the rows that :class:`RowStochasticDepth` keeps."""
    number = max(int(num_rows * (1 - drop_prob)), 1)
    return torch.randperm(num_rows, device=device)[:number]

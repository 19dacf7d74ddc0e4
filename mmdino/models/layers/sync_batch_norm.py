"""Batch norm over all ranks, on any device."""

from __future__ import annotations

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdino.models.layers.collectives import sum_over_ranks
from mmdino.models.layers.precision import at_least_float32, no_autocast


class CPUSyncBatchNorm(_BatchNorm):
    """What ``torch.nn.SyncBatchNorm`` computes, between CPU processes.

    torch's own layer refuses CPU tensors, and ``DistributedDataParallel`` refuses the layer and all
    its subclasses in a CPU module, so a run over gloo could not be compared with one of a single
    process.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"Batch norm takes (B, D, ...), but got shape {tuple(x.shape)}.")

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (B, D, ...) with the statistics of the batches of all ranks."""
        if not self.training or get_world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        with no_autocast(x):
            return self._normalise(at_least_float32(x)).to(x.dtype)

    def _normalise(self, x: Tensor) -> Tensor:
        dims = [0, *range(2, x.dim())]
        count = sum_over_ranks(x.new_tensor(float(x.numel() // x.size(1))))
        shape = [1, -1, *[1] * (x.dim() - 2)]
        mean = sum_over_ranks(x.sum(dims)) / count
        centered = x - mean.view(shape)
        variance = sum_over_ranks(centered.square().sum(dims)) / count
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), count)
        normalised = centered * torch.rsqrt(variance + self.eps).view(shape)
        if not self.affine:
            return normalised
        return normalised * self.weight.view(shape) + self.bias.view(shape)

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * count / (count - 1), weight)


SYNCHRONISED = (CPUSyncBatchNorm, nn.SyncBatchNorm)


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """Returns ``module`` with each batch norm replaced by one over all ranks.

    That is torch's own, or :class:`CPUSyncBatchNorm` where mmengine trains on the CPU. Parameters
    and buffers keep their identity and their names.
    """
    layer = CPUSyncBatchNorm if get_device() == "cpu" else nn.SyncBatchNorm
    if isinstance(module, _BatchNorm) and not isinstance(module, layer):
        synchronised = layer(
            module.num_features,
            eps=module.eps,
            momentum=module.momentum,
            affine=module.affine,
            track_running_stats=module.track_running_stats,
        )
        synchronised.weight, synchronised.bias = module.weight, module.bias
        for name, buffer in module.named_buffers(recurse=False):
            synchronised.register_buffer(name, buffer)
        synchronised.train(module.training)
        return synchronised
    for name, child in module.named_children():
        replacement = synchronise_batch_norm(child)
        if replacement is not child:
            setattr(module, name, replacement)
    return module

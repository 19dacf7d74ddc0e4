"""Export of a backbone to ONNX for one input size."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from converters.checks import package
from mmdino.evaluation.features import feature_of
from mmdino.models.layers import interpolate_pos_embed
from mmdino.utils.atomic_write import atomic_write

OPSET = 17
"""Operator set: the first with LayerNormalization; onnxruntime reads it from 1.12 on."""


class FixedSizeFeature(nn.Module):
    """Maps images (B, C, H, W) of one size to features (B, D).

    The position embeddings of a ViT are resized once at construction: within the graph, each
    runtime would resize them in its own way.

    Args:
        backbone: The backbone; it is copied.
        size: Height and width of the images.

    Raises:
        ValueError: If a side is not a multiple of the patch size.
    """

    def __init__(self, backbone: nn.Module, size: Sequence[int]) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        if getattr(self.backbone, "pos_embed", None) is not None:
            self._resize_positions(size)

    def _resize_positions(self, size: Sequence[int]) -> None:
        vit = self.backbone
        patch = vit.patch_embed.projection.kernel_size
        if any(side < step or side % step for side, step in zip(size, patch, strict=True)):
            raise ValueError(
                f"Invalid size {tuple(size)}: expected multiples of the patch size {tuple(patch)}."
            )
        grid = tuple(side // step for side, step in zip(size, patch, strict=True))
        resized = interpolate_pos_embed(
            vit.pos_embed.detach(),
            vit.patch_resolution,
            grid,
            1,  # The class token has a position, registers have none.
            vit.interpolate_mode,
            vit.pos_embed_offset,
            vit.pos_embed_antialias,
        )
        vit.pos_embed = nn.Parameter(resized, requires_grad=False)
        vit.patch_resolution = grid

    def forward(self, images: Tensor) -> Tensor:
        """Computes the features."""
        return feature_of(self.backbone, images)


def export_onnx(backbone: nn.Module, path: str | Path, images: Tensor, tolerance: float) -> float:
    """Writes a backbone as ONNX if onnxruntime computes the same features.

    Args:
        backbone: A backbone in eval mode.
        path: File to write; nothing is written if the comparison fails.
        images: Images (B, C, H, W) to compare on; the file accepts only this shape. Its input is
            called ``images``, its output ``features`` (B, D).
        tolerance: Allowed difference, relative to the largest feature.

    Returns:
        The largest difference, relative to the largest feature.

    Raises:
        ValueError: If the difference is above the tolerance, or the size does not fit.
        ModuleNotFoundError: If onnx or onnxruntime is not installed.
    """
    package("onnx")
    runtime = package("onnxruntime")
    model = FixedSizeFeature(backbone, images.shape[-2:]).eval()
    with atomic_write(path) as partial:
        _write_graph(model, partial, images)
        session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        # The original backbone, which resizes its position embeddings in the forward pass.
        with torch.no_grad():
            expected = feature_of(backbone, images)
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        # Not ">", so that NaN fails too.
        if not difference <= tolerance:
            raise ValueError(
                f"onnxruntime's features differ by {difference:.3g} of the largest, allowed is "
                f"{tolerance:g}. Nothing was written. Try another version of torch or onnxruntime, "
                "or allow more with --tolerance."
            )
    return difference


def _write_graph(model: nn.Module, path: Path, images: Tensor) -> None:
    # The tracing exporter needs no package but onnx, is in every torch from 2.4 on, and for a fixed
    # size is as good as the newer one. Older versions of torch do not have the option.
    known = inspect.signature(torch.onnx.export).parameters
    tracing = {"dynamo": False} if "dynamo" in known else {}
    with warnings.catch_warnings(), torch.no_grad():
        # Warnings that a newer exporter exists, and that shapes become constants, as intended.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            model,
            (images,),
            str(path),
            input_names=["images"],
            output_names=["features"],
            opset_version=OPSET,
            **tracing,
        )

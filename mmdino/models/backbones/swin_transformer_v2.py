"""mmpretrain's SwinV2 with strict loading, which tells the depth of its layers."""

from __future__ import annotations

from mmpretrain.models import SwinTransformerV2 as MMPretrainSwinTransformerV2
from torch import Tensor

from mmdino.models.backbones.strict_loading import StrictLoading
from mmdino.registry import MODELS


@MODELS.register_module()
class SwinTransformerV2(StrictLoading, MMPretrainSwinTransformerV2):
    """mmpretrain's ``SwinTransformerV2`` for fine-tuning with rates that decay by layer.

    An ``init_cfg`` of type ``Pretrained`` is loaded by :func:`load_pretrained`, which requires all
    tensors to match. The arguments are those of mmpretrain.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.SwinTransformerV2", arch="base", img_size=224,
        ...     window_size=[14, 14, 14, 7],
        ...     init_cfg=dict(type="Pretrained", checkpoint="distilled/epoch_300.pth"))
    """

    def _delete_reinit_params(self, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
        # Coordinates and indices follow from the windows. mmpretrain takes them out of what is
        # loaded, and so nothing could be loaded strictly.
        for name, buffer in self.named_buffers(prefix.removesuffix(".")):
            state_dict[name] = buffer

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Tells the layer of a parameter, and the number of layers, as for mmpretrain's Swin.

        The patch embedding is layer 0, block i of all blocks layer i + 1, what merges the patches
        the layer of the block before it, and the rest the last.

        Args:
            param_name: Name of the parameter.
            prefix: What stands before the backbone's own names.
        """
        num_layers = sum(self.depths) + 2
        name = param_name.removeprefix(prefix)
        if not param_name.startswith(prefix) or name.startswith("norm"):
            return num_layers - 1, num_layers
        if not name.startswith("stages."):
            return 0, num_layers
        _, stage, part, *rest = name.split(".")
        # mmpretrain merges patches at the start of a stage, the authors of Swin at the end.
        before = sum(self.depths[: int(stage)])
        return before + (int(rest[0]) + 1 if part == "blocks" else 0), num_layers

"""Learning rates that fall from the head to the first layers."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.optim import OptimWrapper
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmdino.utils.numbers import require_number


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's layer-wise decay, for segmentors too and aware of accumulation.

    A parameter of layer l has the rate lr * layer_decay_rate^(L - l): l is 0 for the embeddings, 1
    to depth for the blocks and L = depth + 1 for the final norm and all that is not the backbone.

    The configured ``lr`` is for the batch in ``auto_scale_lr.base_batch_size``. mmengine scales
    it by batch size and ranks; accumulation makes the batch larger too, so this class multiplies
    the rate by ``accumulative_counts``. The ``lr`` of the log is the head's.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: As in mmpretrain; ``layer_decay_rate`` is required, 1 for no decay.

    Raises:
        ValueError: If the rate is missing or not within (0, 1]; from the call, if the backbone does
            not tell the depth of its layers.

    Example:
        >>> optim_wrapper = dict(
        ...     type="mmdino.StepOptimWrapper",
        ...     constructor="mmdino.LayerDecayConstructor",
        ...     optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.05),
        ...     paramwise_cfg=dict(layer_decay_rate=0.75, flat_decay_mult=0.0))
        >>> auto_scale_lr = dict(enable=True, base_batch_size=512)
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        decay_rate = self.paramwise_cfg.get("layer_decay_rate")
        advice = "Set optim_wrapper.paramwise_cfg.layer_decay_rate; 1 is no decay."
        if decay_rate is None:
            raise ValueError(f"LayerDecayConstructor got no layer_decay_rate. {advice}")
        require_number(
            "LayerDecayConstructor", "layer_decay_rate", decay_rate, above=0, most=1, advice=advice
        )
        self.base_lr *= self.optim_wrapper_cfg.get("accumulative_counts", 1)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the wrapper for the trainable parameters of ``model``."""
        wrapper = super().__call__(model)
        # mmengine logs the rate of the first group.
        wrapper.optimizer.param_groups.sort(key=lambda group: -group["layer_id"])
        return wrapper

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = "",
        get_layer_depth: Callable[[str], tuple[int, int]] | None = None,
        **kwargs: object,
    ) -> None:
        """Adds a group for each parameter of ``module`` to ``params``."""
        depth_of = get_layer_depth or layer_depths(module)
        super().add_params(params, module, prefix, get_layer_depth=depth_of, **kwargs)


def layer_depths(model: nn.Module) -> Callable[[str], tuple[int, int]]:
    """Returns a function from a parameter's name to its layer and the number of layers.

    mmpretrain's classifiers ask their backbone; mmsegmentation's segmentors do not know how to.

    Args:
        model: A model with a ``backbone``.

    Raises:
        ValueError: If the backbone cannot tell.
    """
    backbone = getattr(model, "backbone", None)
    if not hasattr(backbone, "get_layer_depth"):
        raise ValueError(
            "Rates that decay by layer need a backbone that tells the depth of its layers, but "
            f"{type(backbone).__name__} does not. Use a ViT, or leave out the layer decay of "
            "optim_wrapper.paramwise_cfg."
        )
    return lambda name: backbone.get_layer_depth(name, "backbone.")

"""A learning rate for each linear probe."""

from __future__ import annotations

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmdino.models import LinearProbeHead
from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LinearProbeConstructor:
    """Builds the optimiser with one group per probe of a :class:`LinearProbeHead`.

    The rates are the head's ``lrs``, for the batch in ``auto_scale_lr.base_batch_size``.
    mmengine scales them by batch size and ranks; accumulation makes the batch larger too, so this
    class multiplies them by ``accumulative_counts``. The ``lr`` of the log is that of the first.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``, which has no ``lr``.
        paramwise_cfg: Not supported; must be empty.

    Raises:
        ValueError: If ``paramwise_cfg`` or a rate is given, or no optimiser is configured; from
            the call, if the model has no such head or trains anything else.

    Example:
        >>> optim_wrapper = dict(
        ...     type="mmdino.StepOptimWrapper",
        ...     constructor="mmdino.LinearProbeConstructor",
        ...     optimizer=dict(type="SGD", momentum=0.9, weight_decay=0.0))
        >>> auto_scale_lr = dict(enable=True, base_batch_size=256)
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise ValueError(
                f"LinearProbeConstructor got paramwise_cfg={paramwise_cfg}; the rates are "
                "model.head.lrs, and nothing else differs between the probes. Leave it out."
            )
        if "optimizer" not in optim_wrapper_cfg:
            raise ValueError(
                "optim_wrapper has no 'optimizer'; give one, such as dict(type='SGD', momentum=0.9)"
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))
        if "lr" in self.optimizer_cfg:
            raise ValueError(
                f"optim_wrapper.optimizer has lr={self.optimizer_cfg['lr']}, but each probe has its"
                " own rate. Set model.head.lrs (one or more) and leave lr out."
            )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the wrapper for the probes of ``model``."""
        groups = probe_groups(model, self.wrapper_cfg.get("accumulative_counts", 1))
        # torch requires a default rate, which no group uses.
        optimizer_cfg = dict(self.optimizer_cfg, params=groups, lr=groups[0]["lr"])
        return OPTIM_WRAPPERS.build(
            dict(self.wrapper_cfg),
            default_args={"optimizer": OPTIMIZERS.build(optimizer_cfg)},
        )


def probe_groups(model: nn.Module, accumulative_counts: int = 1) -> list[dict]:
    """Returns one parameter group per probe, with its rate.

    Args:
        model: The model, wrapped for several ranks or not.
        accumulative_counts: Micro-batches in an optimiser step; the rates are multiplied by it.

    Raises:
        ValueError: If there is no :class:`LinearProbeHead`, or anything outside of it would train.
    """
    heads = [module for module in model.modules() if isinstance(module, LinearProbeHead)]
    if len(heads) != 1:
        raise ValueError(
            f"LinearProbeConstructor found {len(heads)} heads of type mmdino.LinearProbeHead in the"
            " model; it needs one. For other heads leave out optim_wrapper.constructor."
        )
    (head,) = heads
    probed = {id(parameter) for parameter in head.parameters()}
    others = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in probed
    ]
    if others:
        raise ValueError(
            f"{len(others)} parameters outside of the probes would be trained, such as "
            f"{others[0]}. A linear evaluation has a frozen backbone: model.backbone="
            "dict(type='mmdino.FrozenBackbone', backbone=dict(...))."
        )
    return [
        {"params": list(probe.parameters()), "lr": rate * accumulative_counts}
        for probe, rate in zip(head.probes, head.lrs, strict=True)
    ]

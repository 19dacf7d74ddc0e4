"""The projection head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers import (
    LazyLogits,
    PlainLinear,
    WeightNormLinear,
    at_least_float32,
    no_autocast,
)
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

PREDICTOR = {"hidden_channels": 4096, "num_layers": 2, "use_bn": True}
"""Arguments of the predictor, as BYOL has them (Grill et al. 2020, section 3.3)."""


@MODELS.register_module()
class DINOHead(BaseModule):
    """Projects a feature to the logits of K prototypes (Caron et al. 2021, appendix C).

    An MLP down to a bottleneck, L2 normalisation, then one weight-normalised row a prototype. The
    names of the parameters are those of the authors' checkpoints (``mlp.0.weight``,
    ``last_layer.weight_v``).

    Args:
        in_channels: Width D of the feature.
        out_channels: Number K of prototypes; the paper's is 65536.
        num_layers: Linear layers of the MLP, at least 1.
        hidden_channels: Width between the layers of the MLP.
        bottleneck_channels: Width that is normalised and compared with the prototypes.
        use_bn: Whether each hidden layer of the MLP has a batch norm.
        norm_last_layer: Whether the prototypes keep length 1. Letting their length train helps
            ViT-S and is unstable for ViT-B.
        weight_norm: Whether the prototypes are a direction and a length each. Without it they are
            the rows of a plain linear layer (``last_layer.weight``), as in DINOv3, and need
            ``norm_last_layer=False``.
        predictor: Arguments of an MLP from bottleneck to bottleneck before the normalisation, for
            the student alone (the ablation "with a predictor", table 7; the paper does not give its
            sizes): ``hidden_channels``, 4096 as in BYOL by default, ``num_layers``, 2, and
            ``use_bn``, True. None: no predictor.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: If a size is not positive, there are fewer than two prototypes, or those of a
            plain layer are to keep their length.
        TypeError: If ``predictor`` is not a dict of the arguments above.

    Example:
        >>> head = dict(type="mmdino.DINOHead", in_channels=384, out_channels=65536)
        >>> with_predictor = dict(head, predictor=dict(hidden_channels=4096))
    """

    gives_lazy_logits = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 65536,
        num_layers: int = 3,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        use_bn: bool = False,
        norm_last_layer: bool = True,
        weight_norm: bool = True,
        predictor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        sizes = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "num_layers": num_layers,
            "hidden_channels": hidden_channels,
            "bottleneck_channels": bottleneck_channels,
        }
        for name, size in sizes.items():
            # The distribution over a single prototype says nothing.
            least = 2 if name == "out_channels" else 1
            require_number("DINOHead", name, size, least=least, whole=True)
        if norm_last_layer and not weight_norm:
            raise ValueError(
                "DINOHead got weight_norm=False and norm_last_layer=True, but the rows of a plain "
                "layer do not keep their length. Set norm_last_layer=False."
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.mlp = _mlp(in_channels, hidden_channels, bottleneck_channels, num_layers, use_bn)
        self.predictor = None if predictor is None else _predictor(bottleneck_channels, predictor)
        if weight_norm:
            self.last_layer: nn.Module = WeightNormLinear(
                bottleneck_channels, out_channels, train_gain=not norm_last_layer
            )
        else:
            self.last_layer = PlainLinear(bottleneck_channels, out_channels)
        self._init_mlps()

    def init_weights(self) -> None:
        """Starts linear weights from a truncated normal of deviation 0.02, biases from 0."""
        super().init_weights()
        if not self.init_cfg:
            self._init_mlps()

    def _init_mlps(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, use: Callable[[LazyLogits], Any] | None = None) -> Any:
        """Maps features (B, D) to logits (B, K).

        Under autocast the matrix products run in the lower precision, the normalisation does not.

        Args:
            x: Features (B, D).
            use: If given, is called with the logits (B, K) before they are computed. That happens
                in here because wrappers that shard parameters gather those of a module for its
                forward pass only.

        Returns:
            Logits (B, K), or what ``use`` returns.
        """
        x = self.mlp(x)
        if self.predictor is not None:
            x = self.predictor(x)
        with no_autocast(x):
            x = functional.normalize(at_least_float32(x), dim=-1)
        return self.last_layer(x) if use is None else use(self.last_layer.lazy(x))


def _predictor(channels: int, options: dict) -> nn.Module:
    """Builds the MLP of the student's predictor.

    Raises:
        TypeError: If the options are not a dict of its arguments, or one has the wrong type.
        ValueError: If a size is not positive.
    """
    if not isinstance(options, dict) or options.keys() - PREDICTOR.keys():
        raise TypeError(
            f"DINOHead got predictor={options!r}; it must be None or a dict with some of "
            f"{', '.join(PREDICTOR)}; {{}} takes the defaults."
        )
    options = PREDICTOR | options
    for name in ("hidden_channels", "num_layers"):
        require_number("DINOHead", f"predictor.{name}", options[name], least=1, whole=True)
    if not isinstance(options["use_bn"], bool):
        raise TypeError(
            f"DINOHead got predictor.use_bn={options['use_bn']!r}; it must be True or False."
        )
    return _mlp(channels, out_channels=channels, **options)


def _mlp(
    in_channels: int, hidden_channels: int, out_channels: int, num_layers: int, use_bn: bool
) -> nn.Module:
    """Linear layers with GELU (and batch norm) between them; a single one stands alone."""
    if num_layers == 1:
        return nn.Linear(in_channels, out_channels)
    layers: list[nn.Module] = []
    width = in_channels
    for _ in range(num_layers - 1):
        layers.append(nn.Linear(width, hidden_channels))
        if use_bn:
            layers.append(nn.BatchNorm1d(hidden_channels))
        layers.append(nn.GELU())
        width = hidden_channels
    layers.append(nn.Linear(width, out_channels))
    return nn.Sequential(*layers)

"""Loading of pretrained weights that must match, for backbones of mmpretrain."""

from __future__ import annotations

from mmdino.weights.pretrained import load_pretrained, pretrained_cfg


class StrictLoading:
    """Before a backbone among the base classes, it has all tensors of a file match.

    An ``init_cfg`` of type ``Pretrained`` is loaded by :func:`load_pretrained`; mmengine leaves out
    what does not fit.
    """

    def init_weights(self) -> None:
        """Initialises the weights, or loads those of ``init_cfg``."""
        pretrained = pretrained_cfg(self.init_cfg)
        if pretrained is None:
            super().init_weights()
        else:
            load_pretrained(self, pretrained)

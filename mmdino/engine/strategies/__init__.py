"""How a model is spread over ranks."""

from mmdino.engine.strategies.dino_fsdp_strategy import DINOFSDPStrategy

__all__ = ["DINOFSDPStrategy"]

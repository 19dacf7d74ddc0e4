"""DINO self-supervised pretraining as a plugin for OpenMMLab's mmpretrain."""

from mmdino.utils.dependencies import check_dependencies
from mmdino.version import __version__

check_dependencies()

__all__ = ["__version__"]

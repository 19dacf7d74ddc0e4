"""DINO self-supervised pretraining as a plugin for OpenMMLab's mmpretrain."""

from mmdino.shipped import add_to_openmmlab
from mmdino.utils.dependencies import check_dependencies
from mmdino.utils.greetings import silence_greetings
from mmdino.version import __version__

check_dependencies()
silence_greetings()
add_to_openmmlab()

__all__ = ["__version__"]

"""Registries of the scope ``mmdino``.

Their parents are mmengine's root registries, not mmpretrain's, so that ``mmdino.X`` works in any
OpenMMLab project. mmengine imports this module when it first encounters the scope, and the modules
in ``locations`` on the first lookup.
"""

from mmengine.registry import DATA_SAMPLERS as ROOT_DATA_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS as ROOT_LOOPS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_PARAM_SCHEDULERS
from mmengine.registry import STRATEGIES as ROOT_STRATEGIES
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import Registry

from mmdino.utils.safe_pickle import allow_checkpoint_classes

# Every use of the package imports this module, and may load a checkpoint afterwards.
allow_checkpoint_classes()


def _node(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope="mmdino", locations=[location])


MODELS = _node("model", ROOT_MODELS, "mmdino.models")
DATASETS = _node("dataset", ROOT_DATASETS, "mmdino.datasets")
DATA_SAMPLERS = _node("data sampler", ROOT_DATA_SAMPLERS, "mmdino.datasets")
TRANSFORMS = _node("transform", ROOT_TRANSFORMS, "mmdino.datasets")
HOOKS = _node("hook", ROOT_HOOKS, "mmdino.engine")
LOOPS = _node("loop", ROOT_LOOPS, "mmdino.engine")
OPTIM_WRAPPERS = _node("optim wrapper", ROOT_OPTIM_WRAPPERS, "mmdino.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _node(
    "optim wrapper constructor", ROOT_OPTIM_WRAPPER_CONSTRUCTORS, "mmdino.engine"
)
PARAM_SCHEDULERS = _node("parameter scheduler", ROOT_PARAM_SCHEDULERS, "mmdino.engine")
STRATEGIES = _node("strategy", ROOT_STRATEGIES, "mmdino.engine")
METRICS = _node("metric", ROOT_METRICS, "mmdino.evaluation")

"""Registries of the scope ``mmdino``.

Their parents are mmengine's root registries, not mmpretrain's, so that ``mmdino.X`` works in any
OpenMMLab project. mmengine imports this module when it first encounters the scope, and the modules
in ``locations`` on the first lookup.
"""

from mmengine import registry as root
from mmengine.registry import Registry

from mmdino.weights.runner_loading import note_component, restrict_own_loading

# Every use of the package imports this module, and may load a checkpoint afterwards.
restrict_own_loading()


class ComponentRegistry(Registry):
    """A registry that records which runners use its components, for the reading of checkpoints."""

    def get(self, key: str) -> type | None:
        """Returns the registered class or function, as mmengine's method does."""
        found = super().get(key)
        if found is not None and found is self.module_dict.get(key.rpartition(".")[2]):
            note_component()
        return found


def _registry(name: str, parent: Registry, location: str) -> Registry:
    return ComponentRegistry(name, parent=parent, scope="mmdino", locations=[location])


MODELS = _registry("model", root.MODELS, "mmdino.models")
DATASETS = _registry("dataset", root.DATASETS, "mmdino.datasets")
DATA_SAMPLERS = _registry("data sampler", root.DATA_SAMPLERS, "mmdino.datasets")
TRANSFORMS = _registry("transform", root.TRANSFORMS, "mmdino.datasets")
FUNCTIONS = _registry("function", root.FUNCTIONS, "mmdino.datasets")
HOOKS = _registry("hook", root.HOOKS, "mmdino.engine")
LOOPS = _registry("loop", root.LOOPS, "mmdino.engine")
OPTIM_WRAPPERS = _registry("optim wrapper", root.OPTIM_WRAPPERS, "mmdino.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _registry(
    "optim wrapper constructor", root.OPTIM_WRAPPER_CONSTRUCTORS, "mmdino.engine"
)
PARAM_SCHEDULERS = _registry("parameter scheduler", root.PARAM_SCHEDULERS, "mmdino.engine")
STRATEGIES = _registry("strategy", root.STRATEGIES, "mmdino.engine")
METRICS = _registry("metric", root.METRICS, "mmdino.evaluation.metrics")

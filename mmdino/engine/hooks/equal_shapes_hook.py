"""Names the images of a batch that cannot be stacked."""

from __future__ import annotations

from functools import partial

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.evaluation.features import collate_equal_shapes
from mmdino.registry import HOOKS


@HOOKS.register_module()
class EqualShapesHook(Hook):
    """Raises an error that names two images of a batch if they differ in shape.

    Otherwise torch says in which shapes, but not in which files. It is for loaders whose
    ``collate_fn`` stacks images, of training, validation and testing; ``KNNValLoop`` does the same.

    Raises:
        ValueError: From the run, if two images of a batch differ in shape, or the pipeline gives no
            ``inputs``.

    Example:
        >>> custom_hooks = [dict(type="mmdino.EqualShapesHook")]
    """

    def before_run(self, runner: Runner) -> None:
        """Checks the batches of all loaders before they are collated."""
        # The properties without an underscore would build what is not built.
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            loader = getattr(loop, "dataloader", None)
            if loader is not None and not _is_checked(loader.collate_fn):
                loader.collate_fn = partial(collate_equal_shapes, loader.collate_fn)


def _is_checked(collate: object) -> bool:
    return isinstance(collate, partial) and collate.func is collate_equal_shapes

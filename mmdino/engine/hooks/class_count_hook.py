"""The check that data set and head have the same number of classes."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmdino.registry import HOOKS

HEADS = ("head", "decode_head", "auxiliary_head")


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Refuses a data set whose number of classes is not that of the model's heads.

    Where the head has more classes than the data set, training runs and the figures are wrong
    without a word; where it has fewer, it ends in an index error that names neither.

    Heads are ``head`` of a model of mmpretrain, ``decode_head`` and ``auxiliary_head`` of one of
    mmsegmentation. The classes of a data set are those in its ``metainfo``. Before training, the
    validation set is compared too, so that a mistake does not show hours later.

    Raises:
        ValueError: From the run, with both numbers and the keys to set, or if the model has no head
            with a number of classes.

    Example:
        >>> custom_hooks = [dict(type="mmdino.ClassCountHook")]
    """

    def before_train(self, runner: Runner) -> None:
        """Compares the training and the validation set with the heads."""
        check(runner, "train", runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            check(runner, "val", runner.val_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Compares the validation set with the heads."""
        check(runner, "val", runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Compares the test set with the heads."""
        check(runner, "test", runner.test_dataloader.dataset)


def check(runner: Runner, mode: str, dataset: Dataset) -> None:
    """Compares one data set with the heads of the runner's model.

    Args:
        runner: Has the model, and the logger that is told of a data set without classes.
        mode: ``"train"``, ``"val"`` or ``"test"``, as in the key of the data set's loader.
        dataset: The data set.

    Raises:
        ValueError: If a number differs, or if there is no head to compare with.
    """
    classes = getattr(dataset, "metainfo", {}).get("classes")
    if classes is None:
        runner.logger.warning(
            f"{mode}_dataloader.dataset ({type(dataset).__name__}) does not name its classes, so "
            "their number is not compared with the head's. Name them in "
            f"{mode}_dataloader.dataset.metainfo.classes."
        )
        return
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    counts = dict(class_counts(model))
    if not counts:
        raise ValueError(
            f"ClassCountHook found no head with num_classes in {type(model).__name__}; it looks at "
            f"{', '.join(HEADS)}. Leave the hook out for this model."
        )
    wrong = {key: count for key, count in counts.items() if count != len(classes)}
    if wrong:
        found = ", ".join(f"{key}={count}" for key, count in wrong.items())
        wanted = " ".join(f"{key}={len(classes)}" for key in wrong)
        raise ValueError(
            f"{mode}_dataloader.dataset ({type(dataset).__name__}) has {len(classes)} classes, but "
            f"the model has {found}. Set {wanted}, or take the data set that the head is for."
        )


def class_counts(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Yields the config key and the value of each ``num_classes`` that is set.

    The data preprocessor of a classifier has one for the labels of mixup.
    """
    for name in HEADS:
        head = getattr(model, name, None)
        if head is None:
            continue
        # Cascades and models with several auxiliary heads keep them in a list.
        listed = isinstance(head, nn.ModuleList)
        members = {f"{name}.{i}": member for i, member in enumerate(head)} if listed else {}
        for key, member in (members or {name: head}).items():
            count = getattr(member, "num_classes", None)
            if count is not None:
                yield f"model.{key}.num_classes", count
    mixed = getattr(getattr(model, "data_preprocessor", None), "num_classes", None)
    if mixed is not None:
        yield "model.data_preprocessor.num_classes", mixed

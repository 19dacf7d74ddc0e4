"""Checks that data set and head have the same number of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmdino.datasets.class_names import describe_other_classes
from mmdino.engine.model_access import bare_model
from mmdino.registry import HOOKS

HEADS = ("head", "decode_head", "auxiliary_head")


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Raises an error if a data set and the model's heads differ in their number of classes.

    Otherwise a head with too many classes trains without an error and gives wrong metrics, and one
    with too few ends in an index error that names neither number.

    Heads are ``head`` of mmpretrain's models, and ``decode_head`` and ``auxiliary_head`` of
    mmsegmentation's. The classes of a data set are those in its ``metainfo``. Before training the
    validation set is checked too, and a warning logged if its classes have other names.

    Raises:
        ValueError: From the run, if the numbers differ, a data set has no labels, or the model has
            no head with ``num_classes``.

    Example:
        >>> custom_hooks = [dict(type="mmdino.ClassCountHook")]
    """

    def before_train(self, runner: Runner) -> None:
        """Compares the training and the validation set with the heads."""
        check(runner, "train", runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            check(runner, "val", runner.val_dataloader.dataset)
            names = [
                classes_of(loader.dataset)
                for loader in (runner.train_dataloader, runner.val_dataloader)
            ]
            if difference := describe_other_classes(*names):
                runner.logger.warning(
                    f"Training and validation set have other classes: {difference}. Labels are "
                    "places in the order of the classes, so the metrics are wrong unless these are "
                    "two names for the same."
                )

    def before_val(self, runner: Runner) -> None:
        """Compares the validation set with the heads."""
        check(runner, "val", runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Compares the test set with the heads."""
        check(runner, "test", runner.test_dataloader.dataset)


def check(runner: Runner, mode: str, dataset: Dataset) -> None:
    """Compares a data set of ``{mode}_dataloader`` with the heads of the runner's model.

    Raises:
        ValueError: If the numbers differ, the data set has no labels, or the model has no head with
            ``num_classes``.
    """
    if getattr(dataset, "with_label", True) is False:
        raise ValueError(
            f"{mode}_dataloader.dataset ({type(dataset).__name__}) has no labels, which a "
            f"classifier needs. Set {mode}_dataloader.dataset.with_label=True."
        )
    classes = classes_of(dataset)
    if classes is None:
        runner.logger.warning(
            f"{mode}_dataloader.dataset ({type(dataset).__name__}) has no class names, so their "
            f"number is not checked. Set {mode}_dataloader.dataset.metainfo.classes."
        )
        return
    model = bare_model(runner)
    counts = dict(class_counts(model))
    if not counts:
        raise ValueError(
            f"ClassCountHook found no num_classes in {type(model).__name__}, in none of "
            f"{', '.join(HEADS)}. Remove the hook for this model."
        )
    different = {key: count for key, count in counts.items() if count != len(classes)}
    if different:
        found = ", ".join(f"{key}={count}" for key, count in different.items())
        expected = " ".join(f"{key}={len(classes)}" for key in different)
        raise ValueError(
            f"{mode}_dataloader.dataset ({type(dataset).__name__}) has {len(classes)} classes, but "
            f"the model has {found}. Set {expected}, or use the data set that the head is for."
        )


def classes_of(dataset: Dataset) -> Sequence[str] | None:
    """Returns the names of a data set's classes, None where it has none."""
    return getattr(dataset, "metainfo", {}).get("classes")


def class_counts(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Yields config key and value of each ``num_classes`` of the model.

    A classifier's data preprocessor has one too, for the labels of mixup.
    """
    for name in HEADS:
        head = getattr(model, name, None)
        if head is None:
            continue
        # Cascades and models with several auxiliary heads have a list of heads.
        is_list = isinstance(head, nn.ModuleList)
        members = {f"{name}.{i}": member for i, member in enumerate(head)} if is_list else {}
        for key, member in (members or {name: head}).items():
            count = getattr(member, "num_classes", None)
            if count is not None:
                yield f"model.{key}.num_classes", count
    mixed = getattr(getattr(model, "data_preprocessor", None), "num_classes", None)
    if mixed is not None:
        yield "model.data_preprocessor.num_classes", mixed

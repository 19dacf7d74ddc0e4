"""Feature distillation: a student predicts the features of a frozen teacher for the same view."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmdino.models.selfsup.base import (
    SelfSupervisedModel,
    check_channels,
    feature_spread,
    in_fast_format,
)
from mmdino.models.selfsup.distillation_teacher import DistillationTeacher, Statistics
from mmdino.models.selfsup.tokens import Tokens, feature_width, tokens_of
from mmdino.registry import MODELS


@MODELS.register_module()
class FeatureDistillation(SelfSupervisedModel):
    """Distils the features of frozen teachers into a student (Wei et al. 2022, arXiv 2205.14141).

    Student and teacher see the same view. The target is the teacher's tokens after its final norm,
    whitened; a linear layer, the projector, maps the student's tokens to the teacher's width. The
    loss is :class:`FeatureLoss` over all of them, and the sum over teachers with their weights.
    What is kept afterwards is the student's backbone.

    A student without a class token, such as a ResNet, predicts it from the mean of its map. Where
    grids differ, the teacher's input or its map is resized; the log says so.

    Args:
        backbone: Config of the student: a :class:`VisionTransformer` with ``out_type="features"``,
            or a backbone that gives maps or all tokens.
        teacher: Arguments of :class:`DistillationTeacher` but its name: ``backbone``,
            ``checkpoint``, and what it was trained with.
        teachers: Several of them, in place of ``teacher``. Each has a projector.
        loss: Arguments of :class:`FeatureLoss`.
        in_channels: Width of the student's tokens, where the backbone does not tell.
        neck: Config of a neck of the features that evaluations use;
            ``dict(type="GlobalAveragePooling")`` for a ResNet. Distillation does without.
        num_global_views: Number of views, 1 in the paper.
        sync_bn: Whether batch norms use the statistics of all ranks.
        compile: Arguments of ``torch.compile`` for the backbones; None does not compile.
        **kwargs: Other arguments of :class:`SelfSupervisedModel`.

    Raises:
        TypeError: If ``teachers`` is no list of dicts.
        ValueError: If there is no teacher or both kinds are given, one does not go with the
            student, or the width of the student is not known; from the run, if grids cannot be
            matched or views differ in size.

    Example:
        >>> model = dict(
        ...     type="mmdino.FeatureDistillation",
        ...     backbone=dict(
        ...         type="mmdino.VisionTransformer", arch="vit-b", out_type="features",
        ...         key_bias=False, learned_positions=False, layer_scale_init_value=0.1,
        ...         drop_path_rate=0.3, weight_init="beit",
        ...         position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=12)),
        ...     teacher=dict(
        ...         backbone=dict(
        ...             type="mmdino.VisionTransformer", arch="vit-b", out_type="features"),
        ...         checkpoint="dino_vitbase16_pretrain.pth"))
    """

    min_views = 1

    def __init__(
        self,
        backbone: dict,
        teacher: dict | None = None,
        teachers: Sequence[dict] | None = None,
        loss: dict | None = None,
        in_channels: int | None = None,
        neck: dict | None = None,
        num_global_views: int = 1,
        sync_bn: bool = True,
        compile: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, neck, num_global_views=num_global_views, **kwargs)
        self.teachers = ModuleList(_build_teachers(teacher, teachers))
        for one in self.teachers:
            check_channels(one.frozen.network["backbone"], self.data_preprocessor)
        width = in_channels or feature_width(self.backbone)
        if width is None:
            raise ValueError(
                f"The backbone {type(self.backbone).__name__} does not tell the width of its "
                "tokens. Set model.in_channels."
            )
        self.in_channels = width
        self.projectors = nn.ModuleList(nn.Linear(width, one.out_channels) for one in self.teachers)
        self.criterion = MODELS.build({"type": "mmdino.FeatureLoss", **(loss or {})})
        if sync_bn:
            self.synchronise_batch_norms()
        if compile is not None:
            self.compile_backbones(compile)

    def frozen_networks(self) -> list[nn.ModuleDict]:
        """Returns the teachers."""
        return [teacher.frozen.network for teacher in self.teachers]

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation of each channel that the views are normalised with."""
        own = getattr(self.data_preprocessor, "statistics", None)
        if own is not None:
            return own
        mean, std = self.data_preprocessor.mean, self.data_preprocessor.std
        return tuple(mean.flatten().tolist()), tuple(std.flatten().tolist())

    def loss(
        self, inputs: list[Tensor], data_samples: list[Any] | None = None
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            inputs: V views of one size, each (B, C, H, W); each counts as an image.
            data_samples: Not used: there are no labels.

        Returns:
            ``loss``; ``class_error`` and ``patch_error``, the loss of class token, or of what
            stands for the whole image, and of patches alone; beside them ``class_constant`` and
            ``patch_constant``, what the best constant would reach, the mean of these targets over
            images and places: a student that is no better has learnt nothing of the image. With
            several teachers the names begin with ``teacher0_`` and so on, and ``teacher0_error`` is
            the loss of one. ``feature_std`` as in :class:`StudentTeacher`.

        Raises:
            ValueError: If the views do not fit, or the student's tokens not the teacher's.
        """
        self.check_views(inputs)
        images = torch.cat(list(inputs))
        outputs = self.backbone(in_fast_format(images, self.backbone))
        tokens = tokens_of(outputs, self.backbone, images.shape[-2:])
        self._check_width(tokens)
        total, metrics = 0.0, {}
        for index, (teacher, projector) in enumerate(
            zip(self.teachers, self.projectors, strict=True)
        ):
            targets = target_parts(teacher(images, self.statistics, tokens.grid))
            sources = self._sources(tokens, teacher, targets)
            prediction = projector(torch.cat(list(sources.values()), dim=1))
            error = self.criterion(prediction, torch.cat(list(targets.values()), dim=1))["loss"]
            total = total + teacher.weight * error
            found = self._errors(prediction.detach(), targets)
            if len(self.teachers) > 1:
                found = {"error": error.detach(), **found}
                found = {f"teacher{index}_{name}": value for name, value in found.items()}
            metrics |= found
        return {"loss": total, **metrics, "feature_std": feature_spread(tokens.of_image)}

    def check_views(self, views: Any) -> None:
        """Checks the views of a batch, which must have one size.

        Raises:
            ValueError: As in :class:`SelfSupervisedModel`, or if sizes differ.
        """
        super().check_views(views)
        sizes = sorted({tuple(view.shape[-2:]) for view in views})
        if len(sizes) > 1:
            raise ValueError(
                f"FeatureDistillation got views of sizes {sizes}; it takes one size, of which the "
                "paper has one view. Change the view groups of MultiCropTransform."
            )

    def _check_width(self, tokens: Tokens) -> None:
        width = tokens.of_image.shape[-1]
        if width != self.in_channels:
            raise ValueError(
                f"The backbone gives tokens of width {width}, but the projectors are for "
                f"{self.in_channels}. Set model.in_channels={width}."
            )

    def _sources(
        self, tokens: Tokens, teacher: DistillationTeacher, targets: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The student's tokens (B, n, D) for each part of the targets."""
        if "patch" in targets and tokens.patches is None:
            raise ValueError(
                f"{teacher.name} has target={teacher.target!r}, but the student gives one vector "
                "an image, which has no grid to match. Set model.backbone.out_type='features', or "
                f"{teacher.name}.target='class_token'."
            )
        image = tokens.pooled if teacher.target == "pooled" else tokens.of_image
        parts = {"class": image.unsqueeze(1), "patch": tokens.patches}
        return {name: parts[name] for name in targets}

    @torch.no_grad()
    def _errors(self, prediction: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each part alone, and that of the best constant."""
        found = {}
        parts = prediction.split([part.shape[1] for part in targets.values()], dim=1)
        for (name, target), part in zip(targets.items(), parts, strict=True):
            constant = target.mean((0, 1), keepdim=True).expand_as(target)
            found[f"{name}_error"] = self.criterion(part, target)["loss"]
            found[f"{name}_constant"] = self.criterion(constant, target)["loss"]
        return found


def target_parts(target: Tokens) -> dict[str, Tensor]:
    """Returns the targets (B, n, D) by what they are of: "class" for the image, "patch"."""
    cls = None if target.cls is None else target.cls.unsqueeze(1)
    parts = {"class": cls, "patch": target.patches}
    return {name: part for name, part in parts.items() if part is not None}


def _build_teachers(
    teacher: dict | None, teachers: Sequence[dict] | None
) -> list[DistillationTeacher]:
    if (teacher is None) == (not teachers):
        raise ValueError(
            "FeatureDistillation needs model.teacher=dict(backbone=..., checkpoint=...), or "
            "model.teachers, a list of several, and not both."
        )
    configs = [teacher] if teacher is not None else teachers
    if not isinstance(configs, (list, tuple)) or not all(isinstance(cfg, dict) for cfg in configs):
        raise TypeError(
            f"FeatureDistillation got teachers={configs!r}; it must be a list of dicts with "
            "backbone and checkpoint."
        )
    known = set(inspect.signature(DistillationTeacher).parameters) - {"name"}
    built = []
    for index, cfg in enumerate(configs):
        name = "model.teacher" if teacher is not None else f"model.teachers.{index}"
        if unknown := set(cfg) - known:
            raise ValueError(
                f"{name} has {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known))}."
            )
        if "backbone" not in cfg:
            raise ValueError(f"{name} has no backbone. Give its config, and checkpoint.")
        built.append(DistillationTeacher(name, **copy.deepcopy(dict(cfg))))
    return built

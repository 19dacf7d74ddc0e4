"""A student that predicts the outputs of a teacher for other views."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmengine.logging import print_log
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from mmdino.models.layers import LazyLogits
from mmdino.models.selfsup.base import (
    SelfSupervisedModel,
    build_networks,
    check_feature,
    feature,
    feature_spread,
    has_too_few_images,
    input_width,
    view_features,
)
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

TEACHERS = ("ema", "student", "frozen")


@MODELS.register_module()
class StudentTeacher(SelfSupervisedModel):
    """Student, teacher, and a loss between the outputs of the two.

    ``backbone``, ``neck``, ``head`` and ``predictor`` are the student, which sees all views. The
    teacher has no predictor and sees the global views. It is one of

    * ``"ema"``: a copy of backbone, neck and head that ``EMATeacherHook`` moves. It gets no
      gradient and no stochastic depth, and its batch norms see its own forward passes only (DINO,
      BYOL, MoCo v3);
    * ``"student"``: the student itself before its predictor. The loss decides whether a gradient
      flows through it (SimSiam, SwAV: no; SimCLR, Barlow Twins: yes);
    * ``"frozen"``: another network, in eval mode (distillation).

    Args:
        backbone: Config of a backbone, as in :class:`SelfSupervisedModel`.
        head: Config of the projection head, which runs once on the features of all views: a module
            from features (N, D) to outputs (N, .), or a neck of mmpretrain. A ``predictor`` inside
            the head is the student's alone.
        loss: Config of the loss: a module that maps student outputs (V, B, .) and teacher outputs
            (G, B, .), the global views first, to a dict with ``loss`` and metrics.
        neck: Config of a neck.
        predictor: Config of a module that maps the head's output to what is compared.
        parts: Configs of further parts of the student by name, for methods that derive from this
            class. A teacher of moving averages has a copy of each.
        teacher: Which teacher.
        teacher_cfg: For ``"frozen"``: configs of its ``backbone``, ``neck`` and ``head``.
        num_global_views: Number G of views, the first ones, that the teacher sees.
        separate_views: Whether each view passes the networks alone, so that batch norms see one
            view at a time (BYOL, SimSiam, MoCo v3, Barlow Twins); else views of one size share a
            backbone call, and the head sees all views (DINO, SwAV, SimCLR).
        micro_batch: Number of images that the backbones see at a time. Their activations are
            computed again in the backward pass, and the loss sees the whole batch: less memory at
            the price of a forward pass. Other than with ``accumulative_counts``, a loss that
            compares images compares all of the batch. Batch norms of the backbone see a
            micro-batch. None for the whole batch at once.
        sync_bn: Whether batch norms are synchronised across ranks.
        compile: Arguments of ``torch.compile`` for the backbones, ``{}`` for its defaults; None
            leaves them as they are. Names in the state dict stay; results differ by rounding, and
            stochastic depth draws other numbers.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: If the kind of teacher is unknown, ``teacher_cfg`` or the loss does not go with
            it, or a neck of mmpretrain is not for vectors; from the loss, if views, features and
            head do not fit.

    Example:
        >>> neck = dict(type="NonLinearNeck", in_channels=384, hid_channels=4096, out_channels=256,
        ...             with_avg_pool=False, norm_cfg=dict(type="BN1d"))
        >>> byol = dict(
        ...     type="mmdino.StudentTeacher", teacher="ema",
        ...     backbone=dict(type="mmdino.VisionTransformer", arch="deit-small"),
        ...     head=neck, predictor=dict(neck, in_channels=256), separate_views=True,
        ...     loss=dict(type="mmdino.BYOLLoss"))
    """

    loss_name = "loss_function"
    """Name of the loss among the modules, and in the state dict."""

    def __init__(
        self,
        backbone: dict,
        head: dict,
        loss: dict,
        neck: dict | None = None,
        predictor: dict | None = None,
        parts: dict[str, dict] | None = None,
        teacher: Literal["ema", "student", "frozen"] = "ema",
        teacher_cfg: dict | None = None,
        num_global_views: int = 2,
        separate_views: bool = False,
        micro_batch: int | None = None,
        sync_bn: bool = True,
        compile: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if teacher not in TEACHERS:
            raise ValueError(
                f"{type(self).__name__} got teacher={teacher!r}; it must be one of {TEACHERS}."
            )
        if (teacher == "frozen") != ("backbone" in (teacher_cfg or {})):
            raise ValueError(
                f"{type(self).__name__} got teacher={teacher!r} and teacher_cfg={teacher_cfg}; "
                "teacher='frozen' needs the config of its backbone (and of its neck and head, if "
                "it has any), and no other teacher takes one."
            )
        if micro_batch is not None:
            advice = "It is a number of images; None takes all at once."
            require_number(
                type(self).__name__, "micro_batch", micro_batch, least=1, whole=True, advice=advice
            )
        networks = copy.deepcopy({"backbone": backbone, "neck": neck, "head": head})
        super().__init__(
            **networks,
            num_global_views=num_global_views,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.teacher_kind = teacher
        self.separate_views = separate_views
        self.micro_batch = micro_batch
        setattr(self, self.loss_name, self._build_loss(dict(loss)))
        self.predictor = None if predictor is None else MMPRETRAIN_MODELS.build(predictor)
        parts = copy.deepcopy(parts or {})
        self._part_names = tuple(parts)
        for name, cfg in parts.items():
            self.add_module(name, MODELS.build(copy.deepcopy(cfg)))
        self.teacher = None
        if teacher == "ema":
            self.teacher = build_networks({**without_predictor(networks), **parts})
        elif teacher == "frozen":
            self.teacher = build_networks(copy.deepcopy(teacher_cfg))
        # Noted here, since a wrapper that shards the parts hides their classes.
        heads = {"head": self.head, "predictor": self.predictor}
        if self.teacher is not None and "head" in self.teacher:
            heads["teacher_head"] = self.teacher["head"]
        for name, head in heads.items():
            check_neck(head, name.replace("teacher_head", "teacher_cfg.head"))
        self._check_method()
        self._takes_tuple = {name: is_mmpretrain_neck(head) for name, head in heads.items()}
        self._widths = {name: input_width(head) for name, head in heads.items() if head is not None}
        if sync_bn:
            self.synchronise_batch_norms()
        self._prepare_teacher()
        if compile is not None:
            self.compile_backbones(compile)

    def _build_loss(self, cfg: dict) -> nn.Module:
        return MODELS.build(cfg)

    def _check_method(self) -> None:
        """Checks that loss, teacher and predictor make a method."""
        kind, loss = self.teacher_kind, type(self.criterion).__name__
        in_head = getattr(self.head, "predictor", None)
        if kind != "student" and not getattr(self.criterion, "uses_teacher", True):
            raise ValueError(
                f"{type(self).__name__} got teacher={kind!r}, but {loss} compares the outputs of "
                "the student with each other and would ignore a teacher. Set "
                "model.teacher='student'."
            )
        if kind == "student" and in_head is not None:
            raise ValueError(
                f"{type(self).__name__} got teacher='student' and a predictor inside the head, so "
                "that the targets would pass it too. Leave it out of the head; model.predictor is "
                "for the predictions alone."
            )
        lacks_predictor = self.predictor is None and in_head is None and kind != "frozen"
        if lacks_predictor and getattr(self.criterion, "relies_on_predictor", False):
            print_log(
                f"{loss} without a predictor (model.predictor) is known to collapse: all images "
                "get the same output.",
                logger="current",
                level=logging.WARNING,
            )

    @property
    def criterion(self) -> nn.Module:
        """The loss."""
        return getattr(self, self.loss_name)

    @property
    def needs(self) -> set[str]:
        """A teacher of moving averages has to be moved, and losses say what they need."""
        needs = {"teacher"} if self.teacher_kind == "ema" else set()
        # Of the loss alone: this is asked for at every step.
        return needs.union(*(getattr(module, "needs", ()) for module in self.criterion.modules()))

    def networks(self) -> list[dict[str, nn.Module]]:
        """Returns the parts of the student and, where it is another network, of the teacher."""
        (student,) = super().networks()
        if self.predictor is not None:
            student["predictor"] = self.predictor
        student |= {name: getattr(self, name) for name in self._part_names}
        return [student] if self.teacher is None else [student, dict(self.teacher.items())]

    def init_weights(self) -> None:
        """Initialises the student, and copies it to a teacher of moving averages."""
        super().init_weights()
        self._prepare_teacher()

    def _prepare_teacher(self) -> None:
        if self.teacher is None:
            return
        if self.teacher_kind == "ema":
            for name, module in self.teacher.items():
                student = getattr(self, name).state_dict()
                module.load_state_dict({key: student[key] for key in module.state_dict()})
            for module in self.teacher.modules():
                if hasattr(module, "drop_prob"):
                    module.drop_prob = 0.0
        else:
            self.teacher.eval()
        self.teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> StudentTeacher:
        """Sets the mode; a frozen teacher stays in eval mode."""
        super().train(mode)
        if self.teacher_kind == "frozen":
            self.teacher.eval()
        return self

    def teacher_pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the parameters of an EMA teacher and, in the same order, the student's."""
        assert self.teacher_kind == "ema", "only a teacher of moving averages has a twin"
        teacher, student = [], []
        for part, module in self.teacher.items():
            twins = dict(getattr(self, part).named_parameters())
            for name, parameter in module.named_parameters():
                teacher.append(parameter)
                student.append(twins[name])
        return teacher, student

    def loss(
        self, inputs: list[Tensor], data_samples: list[Any] | None = None
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            inputs: V views, each (B, C, H, W), the global ones first.
            data_samples: Not used: there are no labels.

        Returns:
            What the loss returns, and ``feature_std``, the :func:`feature_spread` of the student's
            features of the first view.

        Raises:
            ValueError: If the views do not fit, or a batch or micro-batch of one meets batch norm.
        """
        self.check_views(inputs)
        batch_size = len(inputs[0])
        self._check_micro_batches(batch_size)
        targets = None if self.teacher is None else self._teacher_outputs(inputs)
        features = self._features(inputs, self.backbone, self.neck)
        check_feature(features, self._widths["head"])
        metrics = self._compare(features, targets, (len(inputs), batch_size))
        global_features = features.unflatten(0, (len(inputs), batch_size))[: self.num_global_views]
        metrics = self._add_terms(metrics, global_features)
        return {**metrics, "feature_std": feature_spread(features[:batch_size])}

    def _add_terms(self, metrics: dict[str, Tensor], features: Tensor) -> dict[str, Tensor]:
        """Adds terms of the student's features (G, B, D) to the loss, in methods that have some."""
        return metrics

    def _check_micro_batches(self, batch_size: int) -> None:
        """Checks that no micro-batch leaves one image to the batch norms of the backbone."""
        if self.micro_batch is None or not self.training:
            return
        smallest = batch_size % self.micro_batch or self.micro_batch
        if has_too_few_images(self.backbone, smallest):
            raise ValueError(
                f"{type(self).__name__} got micro_batch={self.micro_batch} and {batch_size} "
                "images, which leave a micro-batch of one image, and the backbone has batch norm, "
                "which needs at least two. Set model.micro_batch to a divisor of the batch that is "
                "at least 2."
            )

    @torch.no_grad()
    def _teacher_outputs(self, views: list[Tensor]) -> Tensor:
        """Outputs (G, B, .) of a teacher that is another network."""
        global_views = views[: self.num_global_views]
        views = (len(global_views), len(global_views[0]))
        outputs = self._features(global_views, self.teacher["backbone"], self.teacher_neck)
        if "head" in self.teacher:
            name = "head" if self.teacher_kind == "ema" else "teacher's head"
            check_feature(outputs, self._widths["teacher_head"], name)
            outputs = self._project("teacher_head", self.teacher["head"], outputs, views)
        return outputs.unflatten(0, views)

    def _features(
        self, views: Sequence[Tensor], backbone: nn.Module, neck: nn.Module | None
    ) -> Tensor:
        """Features (V * B, D) of V views."""
        return view_features(views, backbone, neck, self.separate_views, self.micro_batch)

    def _compare(
        self, features: Tensor, targets: Tensor | None, views: tuple[int, int]
    ) -> dict[str, Tensor]:
        """The loss of student features (V * B, D), which the head runs on once."""
        criterion = self.criterion

        def use(outputs: Tensor | LazyLogits) -> dict[str, Tensor]:
            return criterion(outputs.unflatten(0, views), targets)

        alone = targets is not None and self.predictor is None and not self.separate_views
        if alone and leaves_logits(self.head, criterion):
            return self.head(features, use)
        outputs = self._project("head", self.head, features, views)
        if targets is None:
            targets = outputs.unflatten(0, views)[: self.num_global_views]
        if self.predictor is not None:
            check_feature(outputs, self._widths["predictor"], "predictor")
            outputs = self._project("predictor", self.predictor, outputs, views)
        return use(outputs)

    def _project(self, name: str, module: nn.Module, x: Tensor, views: tuple[int, int]) -> Tensor:
        """Runs a head or a predictor on features (V * B, D) of V views of B images."""
        takes_tuple = self._takes_tuple[name]
        if not self.separate_views:
            return module((x,))[-1] if takes_tuple else module(x)
        return torch.cat(
            [module((view,))[-1] if takes_tuple else module(view) for view in x.split(views[1])]
        )

    def extract_feat(
        self, inputs: Tensor, network: Literal["teacher", "student"] | None = None
    ) -> Tensor:
        """Maps images (B, C, H, W) to features (B, D).

        Args:
            inputs: Images.
            network: Whose features; by default those of an EMA teacher, else the student's.

        Raises:
            ValueError: If the model has no such network.
        """
        network = network or ("teacher" if self.teacher_kind == "ema" else "student")
        if network == "teacher" and self.teacher is not None:
            return feature(inputs, self.teacher["backbone"], self.teacher_neck)
        if network == "student":
            return feature(inputs, self.backbone, self.neck)
        known = "'student'" if self.teacher is None else "'teacher' or 'student'"
        raise ValueError(f"extract_feat got network={network!r}; it must be {known}.")

    @property
    def teacher_neck(self) -> nn.Module | None:
        """The neck of a teacher that is another network, None where there is none."""
        return self.teacher["neck"] if "neck" in self.teacher else None


def leaves_logits(head: nn.Module, loss: nn.Module) -> bool:
    """Whether a head can leave its last layer to a loss, so that not all logits exist at once."""
    accepts = getattr(loss, "accepts_lazy_logits", False)
    return accepts and getattr(head, "gives_lazy_logits", False)


def without_predictor(network: dict[str, dict | None]) -> dict[str, dict | None]:
    """Returns the configs of a teacher's parts, given the student's.

    A head with a ``predictor`` inside has it for the student only.
    """
    head = {name: value for name, value in network["head"].items() if name != "predictor"}
    return {**network, "head": head}


def check_neck(module: nn.Module | None, name: str) -> None:
    """Checks that one of mmpretrain's necks takes vectors (B, D), which by default it does not.

    Args:
        module: The head or the predictor; any other module passes.
        name: What it is in the model's config.

    Raises:
        ValueError: If it pools, has a batch norm of maps, or a layer of no width.
    """
    if not is_mmpretrain_neck(module):
        return
    owner = f"model.{name} ({type(module).__name__})"
    if getattr(module, "with_avg_pool", False):
        raise ValueError(
            f"{owner} has with_avg_pool=True, but it gets vectors, in which there is nothing to "
            f"pool. Set model.{name}.with_avg_pool=False; the map of a ResNet is pooled by "
            "model.neck=dict(type='GlobalAveragePooling')."
        )
    if any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
        raise ValueError(
            f"{owner} has the batch norm of maps, but it gets vectors. Set "
            f"model.{name}.norm_cfg.type='BN1d'."
        )
    if any(parameter.numel() == 0 for parameter in module.parameters()):
        raise ValueError(
            f"{owner} has a layer of width 0. Its in_channels, hid_channels and out_channels must "
            "be at least 1."
        )


def is_mmpretrain_neck(module: nn.Module | None) -> bool:
    """Whether a module is one of mmpretrain's necks, which take and return a tuple."""
    return type(module).__module__.startswith("mmpretrain.models.necks")

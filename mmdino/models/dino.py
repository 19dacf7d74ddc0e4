"""Student, teacher and the forward passes between them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.dist import get_world_size, is_distributed
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from mmdino.models.layers import (
    SYNCHRONISED,
    WeightNormLinear,
    product_dtype,
    synchronise_batch_norm,
)
from mmdino.models.losses.fused_prototypes import UnprojectedLogits
from mmdino.registry import MODELS

TEACHER_UPDATE = "mmdino.EMATeacherHook"
CENTER_UPDATE = "mmdino.CenterUpdateHook"


@MODELS.register_module()
class DINO(BaseSelfSupervisor):
    """Self-distillation with no labels (Caron et al. 2021, algorithm 1).

    ``backbone``, ``neck`` and ``head`` are the student. ``teacher`` holds a second set of the same
    three, built apart from it and equal at the start; it gets no gradient and no stochastic depth,
    and its batch norms see its own forward passes only. ``EMATeacherHook`` moves the teacher and
    ``CenterUpdateHook`` the centre of the loss; training without either is refused.

    Args:
        backbone: Config of a backbone whose last output is a feature (B, D), or a map that ``neck``
            makes one of.
        head: Config of the projection head.
        loss: Config of the loss. The number of prototypes follows the head.
        neck: Config of a neck; ``dict(type="GlobalAveragePooling")`` for a ResNet.
        num_global_views: Number G of views, the first ones, that the teacher sees.
        view_sizes: Sizes of all view groups in pixels, ints or (height, width). If given, each is
            tried when the model is built, without computing anything, so that one that does not
            fit fails here and not an hour later.
        sync_bn: Whether batch norms are synchronised across ranks where there are several.
        compile: Arguments of ``torch.compile`` for the two backbones, ``{}`` for its defaults; None
            leaves them as they are. Each view size gets a graph of its own. Names in the state dict
            stay; results differ by rounding, and the stochastic depth draws other numbers.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: If a view size or the head does not fit the backbone.

    Example:
        >>> model = dict(
        ...     type="mmdino.DINO",
        ...     backbone=dict(type="mmdino.VisionTransformer", arch="deit-small"),
        ...     head=dict(type="mmdino.DINOHead", in_channels=384),
        ...     view_sizes=(224, 96))
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        loss: dict | None = None,
        neck: dict | None = None,
        num_global_views: int = 2,
        view_sizes: Sequence[int | Sequence[int]] = (),
        sync_bn: bool = True,
        compile: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if num_global_views < 1:
            raise ValueError(
                f"DINO got num_global_views={num_global_views}; the teacher needs at least 1."
            )
        # The base class writes into the configs it is given.
        student_cfg = copy.deepcopy({"backbone": backbone, "neck": neck, "head": head})
        preprocessor_cfg = {"type": "mmdino.MultiViewPreprocessor", **(data_preprocessor or {})}
        super().__init__(
            **copy.deepcopy(student_cfg), data_preprocessor=preprocessor_cfg, init_cfg=init_cfg
        )
        self.num_global_views = num_global_views
        loss_cfg = {"type": "mmdino.DINOLoss", **(loss or {})}
        loss_cfg.setdefault("num_prototypes", self.head.out_channels)
        self.dino_loss = MODELS.build(loss_cfg)
        if self.dino_loss.num_prototypes != self.head.out_channels:
            raise ValueError(
                f"The loss has num_prototypes={self.dino_loss.num_prototypes}, the head "
                f"out_channels={self.head.out_channels}. Leave num_prototypes out of the loss: it "
                "follows the head."
            )
        self.teacher = nn.ModuleDict(
            {
                name: MMPRETRAIN_MODELS.build(cfg)
                for name, cfg in student_cfg.items()
                if cfg is not None
            }
        )
        if sync_bn and is_distributed():
            synchronise_batch_norm(self)
        self._prepare_teacher()
        for size in view_sizes:
            self._try_view_size(size)
        self._updated_by: set[str] = set()
        self.is_compiled = compile is not None
        if compile is not None:
            for backbone in (self.backbone, self.teacher["backbone"]):
                backbone.compile(**{"dynamic": False, **compile})

    def init_weights(self) -> None:
        """Initialises the student and copies it to the teacher."""
        super().init_weights()
        self._prepare_teacher()

    def _prepare_teacher(self) -> None:
        for name, module in self.teacher.items():
            module.load_state_dict(getattr(self, name).state_dict())
        self.teacher.requires_grad_(False)
        for module in self.teacher.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0

    def teacher_pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the parameters of the teacher and, in the same order, those of the student."""
        pairs = [
            (teacher, student)
            for name, module in self.teacher.items()
            for teacher, student in zip(
                module.parameters(), getattr(self, name).parameters(), strict=True
            )
        ]
        teacher, student = zip(*pairs, strict=True)
        return list(teacher), list(student)

    def declare_updated_by(self, hook: str) -> None:
        """Notes that a hook takes care of its part of the algorithm.

        Args:
            hook: ``TEACHER_UPDATE`` or ``CENTER_UPDATE``. A loop of your own that moves the teacher
                or the centre itself calls this too.
        """
        self._updated_by.add(hook)

    def forward(
        self,
        inputs: Tensor | list[Tensor],
        data_samples: list[DataSample] | None = None,
        mode: Literal["tensor", "predict", "loss"] = "tensor",
    ) -> Tensor | list[DataSample] | dict[str, Tensor]:
        """Runs the model in one of mmengine's modes.

        Args:
            inputs: In mode "loss" V views, each (B, C, H, W), the globals first; else images
                (B, C, H, W).
            data_samples: Samples of the B images.
            mode: "loss" computes the loss; "tensor" returns the teacher's features (B, D);
                "predict" returns the samples with their ``feature`` set.

        Raises:
            ValueError: If the mode is unknown, or in training nothing updates teacher or centre.
        """
        if mode == "loss":
            if self.training:
                self._require_updates()
            return self.loss(inputs, data_samples)
        if mode == "tensor":
            return self.extract_feat(inputs)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        raise ValueError(f"DINO got mode={mode!r}; it must be 'loss', 'tensor' or 'predict'.")

    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample] | None = None
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            inputs: V views, each (B, C, H, W), the global ones first.
            data_samples: Not used: there are no labels.

        Returns:
            What :class:`DINOLoss` returns, and ``feature_std``: the deviation over the batch of the
            L2-normalised student features times the root of their width, about 1 for features
            spread over the sphere and 0 where all images have the same.

        Raises:
            ValueError: If there are too few views, or a batch of one with batch norm.
        """
        self._check_views(inputs)
        batch_size = len(inputs[0])
        with torch.no_grad():
            teacher_features = _view_features(
                inputs[: self.num_global_views], self.teacher["backbone"], self.teacher_neck
            )
            teacher_logits = self.teacher["head"](teacher_features).unflatten(0, (-1, batch_size))
        features = _view_features(inputs, self.backbone, self.neck)
        figures = self._score(features, teacher_logits)
        return {**figures, "feature_std": feature_spread(features[:batch_size])}

    def _score(self, features: Tensor, teacher_logits: Tensor) -> dict[str, Tensor]:
        """The loss of student features (V * B, D), which the head runs on once."""
        views = (-1, teacher_logits.shape[1])
        if self.dino_loss.chunk is None or not getattr(self.head, "takes_score", False):
            return self.dino_loss(self.head(features).unflatten(0, views), teacher_logits)

        def score(x: Tensor, last_layer: WeightNormLinear) -> dict[str, Tensor]:
            logits = UnprojectedLogits(
                x.unflatten(0, views), last_layer.weight_v, last_layer.weight_g, product_dtype(x)
            )
            return self.dino_loss(logits, teacher_logits)

        return self.head(features, score)

    def extract_feat(
        self, inputs: Tensor, network: Literal["teacher", "student"] = "teacher"
    ) -> Tensor:
        """Maps images (B, C, H, W) to features (B, D) of the teacher, or of the student."""
        if network == "teacher":
            return _features(inputs, self.teacher["backbone"], self.teacher_neck)
        if network == "student":
            return _features(inputs, self.backbone, self.neck)
        raise ValueError(f"extract_feat got network={network!r}; 'teacher' or 'student'.")

    @property
    def teacher_neck(self) -> nn.Module | None:
        """The teacher's neck, None where there is none."""
        return self.teacher["neck"] if "neck" in self.teacher else None

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Returns a sample for each image, with the teacher's ``feature`` (D,) set."""
        features = self.extract_feat(inputs)
        samples = data_samples or [DataSample() for _ in features]
        for sample, feature in zip(samples, features, strict=True):
            sample.set_field(feature, "feature")
        return samples

    def _require_updates(self) -> None:
        missing = {TEACHER_UPDATE, CENTER_UPDATE} - self._updated_by
        if missing:
            lines = ", ".join(f"dict(type={name!r})" for name in sorted(missing))
            raise ValueError(
                "DINO is trained, but nothing updates its "
                + " and its ".join(
                    {TEACHER_UPDATE: "teacher", CENTER_UPDATE: "centre"}[name]
                    for name in sorted(missing)
                )
                + f". Add to the config: custom_hooks = [{lines}, ...]. In a training loop of your "
                "own, call model.declare_updated_by(name) once you update them yourself."
            )

    def _check_views(self, views: Any) -> None:
        if not isinstance(views, (list, tuple)) or len(views) < max(2, self.num_global_views):
            came = f"{len(views)} view(s)" if isinstance(views, (list, tuple)) else type(views)
            raise ValueError(
                f"DINO got {came}; it needs a list of at least two views, the first "
                f"{self.num_global_views} of them global. Put mmdino.MultiCropTransform into the "
                "pipeline."
            )
        shapes = {tuple(view.shape[-2:]) for view in views[: self.num_global_views]}
        if len(shapes) > 1:
            raise ValueError(
                f"The first {self.num_global_views} views are the global ones, but their sizes are "
                f"{sorted(shapes)}. Set model.num_global_views to the number of global views of "
                "MultiCropTransform, which come first."
            )
        for shape in {tuple(view.shape[-2:]) for view in views}:
            self._check_patches(*shape)
        if not self.training or len(views[0]) > 1:
            return
        norms = [module for module in self.modules() if isinstance(module, _BatchNorm)]
        ranks = get_world_size() if any(isinstance(m, SYNCHRONISED) for m in norms) else 1
        if norms and len(views[0]) * ranks < 2:
            raise ValueError(
                "DINO got a batch of one image, and the model has batch norm, which needs at least "
                "two. Use a larger batch_size, set drop_last=True in train_dataloader if it is the "
                "last batch of an epoch, or a model without batch norm (ViT with use_bn=False)."
            )

    def _check_patches(self, height: int, width: int) -> None:
        # mmcv's patch embedding would pad the view and say nothing.
        patch = getattr(self.backbone, "patch_embed", None)
        sides = getattr(getattr(patch, "projection", None), "stride", (1, 1))
        if height % sides[0] or width % sides[1] or min(height, width) < 1:
            raise ValueError(
                f"A view of {height} x {width} pixels does not divide into patches of {sides[0]} x "
                f"{sides[1]}. Change the size of the view group (MultiCropTransform) or patch_size."
            )

    def _try_view_size(self, size: int | Sequence[int]) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        self._check_patches(height, width)
        channels = len(self.data_preprocessor.mean)
        views = torch.empty(2, channels, height, width, device="meta")
        # In eval mode, since synchronised batch norms would have the ranks exchange statistics.
        extractor = _FeatureExtractor(self.backbone, self.neck).eval()
        try:
            features = functional_call(extractor, _on_meta(self), (views,))
        except RuntimeError as error:
            raise ValueError(
                f"The backbone {type(self.backbone).__name__} cannot take views of {channels} x "
                f"{height} x {width}: {error}. The channels come from the data_preprocessor's mean "
                "(set the backbone's in_channels to the same), the size from view_sizes."
            ) from error
        finally:
            extractor.train(self.training)
        if features.shape[1:] != (self.head.in_channels,):
            raise ValueError(
                f"The backbone gives features of shape {tuple(features.shape[1:])} for a view of "
                f"{height} x {width}, but the head has in_channels={self.head.in_channels}. Set "
                "in_channels to the width of the feature; a map needs a neck, such as "
                "dict(type='GlobalAveragePooling')."
            )


class _FeatureExtractor(nn.Module):
    """Backbone and neck as one module, for a call with other parameters."""

    def __init__(self, backbone: nn.Module, neck: nn.Module | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck

    def forward(self, images: Tensor) -> Tensor:
        return _features(images, self.backbone, self.neck)


def _on_meta(model: DINO) -> dict[str, Tensor]:
    """Shapes without storage for the parameters and buffers of backbone and neck."""
    extractor = _FeatureExtractor(model.backbone, model.neck)
    state = {**dict(extractor.named_parameters()), **dict(extractor.named_buffers())}
    return {name: tensor.detach().to("meta") for name, tensor in state.items()}


def _features(images: Tensor, backbone: nn.Module, neck: nn.Module | None) -> Tensor:
    """The last output of backbone and neck: (B, D)."""
    outputs = backbone(images)
    if neck is not None:
        outputs = neck(outputs)
    return outputs[-1] if isinstance(outputs, (tuple, list)) else outputs


def _view_features(views: Sequence[Tensor], backbone: nn.Module, neck: nn.Module | None) -> Tensor:
    """Features (V * B, D) of V views, one backbone call a size."""
    return torch.cat(
        [
            _features(torch.cat(list(same_size)), backbone, neck)
            for _, same_size in groupby(views, key=lambda view: view.shape[-2:])
        ]
    )


@torch.no_grad()
def feature_spread(features: Tensor) -> Tensor:
    """Deviation of L2-normalised features (B, D) over the batch, times the root of D."""
    directions = nn.functional.normalize(features.float(), dim=1)
    return directions.std(0, correction=0).mean() * features.shape[1] ** 0.5

"""What all methods share: networks, views, features, and what must happen between steps."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any, Literal

import torch
from mmengine.dist import get_world_size, is_distributed
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmdino.models.backbones.features import last_output
from mmdino.models.layers import SYNCHRONISED, is_autocast, synchronise_batch_norm
from mmdino.utils.numbers import require_number

HOOK_FOR_NEED = {
    "teacher": "mmdino.EMATeacherHook",
    "center": "mmdino.CenterUpdateHook",
    "queue": "mmdino.QueueStartHook",
    "gram_teacher": "mmdino.GramAnchorHook",
}
"""The hook that takes care of each need, for the error message."""


class SelfSupervisedModel(BaseSelfSupervisor):
    """Base of the methods: a student network that learns from several views of each image.

    A method implements :meth:`loss` and, if anything but the optimiser moves its state, says so in
    :attr:`needs`. The hook in charge marks each need with :meth:`mark_met`; training while one is
    unmet is refused at the first step.

    Args:
        backbone: Config of a backbone whose last output is a feature (B, D), :class:`Features`, or
            a map that ``neck`` makes a feature of.
        neck: Config of a neck; ``dict(type="GlobalAveragePooling")`` for a ResNet.
        head: Config of the projection head.
        num_global_views: Number G of global views, the first ones.
        data_preprocessor: Config of the data preprocessor; by default ``MultiViewPreprocessor``.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: If there are no global views, or the images have not the channels that the
            backbone takes.
    """

    min_views = 2
    """Fewest views of an image that the method can learn from."""

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        num_global_views: int = 2,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        require_number(
            type(self).__name__, "num_global_views", num_global_views, least=1, whole=True
        )
        # The base class writes into the configs it is given.
        networks = copy.deepcopy({"backbone": backbone, "neck": neck, "head": head})
        preprocessor = {"type": "mmdino.MultiViewPreprocessor", **(data_preprocessor or {})}
        super().__init__(**networks, data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.num_global_views = num_global_views
        self.is_compiled = False
        self._met: set[str] = set()
        check_channels(self.backbone, self.data_preprocessor)

    @property
    def needs(self) -> set[str]:
        """What has to be updated between steps, such as {"teacher", "center"}."""
        return set()

    @property
    def starts_anew(self) -> tuple[str, ...]:
        """Beginnings of names in the state dict that weights to start a run from do not set."""
        return ()

    def mark_met(self, need: str) -> None:
        """Notes that a need is taken care of.

        Args:
            need: A member of :attr:`needs`. Hooks call this; so does a training loop of your own
                that moves the teacher or the centre itself.
        """
        self._met.add(need)

    def networks(self) -> list[dict[str, nn.Module]]:
        """Returns the networks of the model, each as its parts by name, the student's first."""
        parts = {"backbone": self.backbone, "neck": self.neck, "head": self.head}
        return [{name: part for name, part in parts.items() if part is not None}]

    def forward(
        self,
        inputs: Tensor | list[Tensor],
        data_samples: list[DataSample] | None = None,
        mode: Literal["tensor", "predict", "loss"] = "tensor",
        **extras: Tensor,
    ) -> Tensor | list[DataSample] | dict[str, Tensor]:
        """Runs the model in one of mmengine's modes.

        Args:
            inputs: In mode "loss" V views, each (B, C, H, W), the global ones first; else images
                (B, C, H, W).
            data_samples: Samples of the B images.
            mode: "loss" computes the loss; "tensor" returns features (B, D); "predict" returns the
                samples with their ``feature`` set.
            **extras: What else the batch has, such as masks, for :meth:`loss`.

        Raises:
            ValueError: If the mode is unknown, or in training a need is unmet, or the batch has
                more than the method takes.
        """
        if mode == "loss":
            if self.training:
                self.require_needs_met()
            if extras:
                check_extras(self, extras)
            return self.loss(inputs, data_samples, **extras)
        if mode == "tensor":
            return self.extract_feat(inputs)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        raise ValueError(
            f"{type(self).__name__} got mode={mode!r}; it must be 'loss', 'tensor' or 'predict'."
        )

    @abstractmethod
    def loss(
        self, inputs: list[Tensor], data_samples: list[DataSample] | None = None
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch and what is logged beside it.

        mmengine adds up all entries whose name contains "loss".

        Args:
            inputs: V views, each (B, C, H, W), the global ones first.
            data_samples: Samples of the B images.
        """

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to the features (B, D) that evaluations use."""
        return feature(inputs, self.backbone, self.neck)

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Returns a sample for each image, with its ``feature`` (D,) set."""
        features = self.extract_feat(inputs)
        samples = data_samples or [DataSample() for _ in features]
        for sample, value in zip(samples, features, strict=True):
            sample.set_field(value, "feature")
        return samples

    def synchronise_batch_norms(self) -> None:
        """Makes batch norms use the statistics of all ranks, where there are several."""
        if is_distributed():
            synchronise_batch_norm(self)

    def frozen_networks(self) -> list[nn.ModuleDict]:
        """Returns the networks that training leaves alone and that are no part of the model."""
        return []

    def compile_backbones(self, options: dict[str, Any]) -> None:
        """Compiles all backbones, which get a graph for each view size.

        Args:
            options: Arguments of ``torch.compile``.

        Raises:
            TypeError: If they are no dict.
        """
        if not isinstance(options, dict):
            raise TypeError(
                f"{type(self).__name__} got compile={options!r}; it must be a dict of arguments of "
                "torch.compile, such as dict(dynamic=False), or None."
            )
        self.is_compiled = True
        for network in (*self.networks(), *self.frozen_networks()):
            network["backbone"].compile(**{"dynamic": False, **options})

    def check_views(self, views: Any) -> None:
        """Checks the views of a batch.

        Raises:
            ValueError: If there are fewer than :attr:`min_views` or than ``num_global_views``, if
                those differ in size, if a view does not divide into patches, or if batch norm would
                see one image.
        """
        name = type(self).__name__
        fewest = max(self.min_views, self.num_global_views)
        if not isinstance(views, (list, tuple)) or len(views) < fewest:
            got = f"{len(views)} view(s)" if isinstance(views, (list, tuple)) else type(views)
            raise ValueError(
                f"{name} got {got}; it needs a list of at least "
                f"{ {1: 'one view', 2: 'two views'}.get(fewest, f'{fewest} views') }, the first "
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
            check_patches(self.backbone, *shape)
        if self.training and has_too_few_images(self, len(views[0])):
            raise ValueError(
                f"{name} got a batch of one image, and the model has batch norm, which needs at "
                "least two. Use a larger batch_size, set drop_last=True in train_dataloader if it "
                "is the last batch of an epoch, or a ViT and a head without batch norm (DINOHead's "
                "use_bn=False; norm_cfg=dict(type='LN') with with_last_bn=False of mmpretrain's "
                "NonLinearNeck)."
            )

    def require_needs_met(self) -> None:
        """Checks that everything in :attr:`needs` is taken care of.

        Raises:
            ValueError: If a need is unmet, with the hook that meets it.
        """
        unmet = sorted(self.needs - self._met)
        if unmet:
            hooks = ", ".join(
                f"dict(type={HOOK_FOR_NEED[need]!r})"
                if need in HOOK_FOR_NEED
                else f"the one that calls mark_met({need!r})"
                for need in unmet
            )
            raise ValueError(
                f"{type(self).__name__} is trained, but nothing updates its "
                + " and its ".join(reversed(unmet))
                + f". Add the hook to the config, in default_hooks or custom_hooks: {hooks}. In a "
                "training loop of your own, call model.mark_met(name) once you update them "
                "yourself."
            )


def check_extras(model: SelfSupervisedModel, extras: Iterable[str]) -> None:
    """Checks that the loss of a model takes what a batch has beside views and samples.

    Raises:
        ValueError: If it does not, as with masks for a method that masks nothing.
    """
    parameters = inspect.signature(model.loss).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    unknown = [name for name in extras if name not in parameters]
    if unknown and not takes_all:
        raise ValueError(
            f"{type(model).__name__} got a batch with {', '.join(unknown)}, which it does not use. "
            "Masks come from train_dataloader.collate_fn.type='mmdino.BlockMasks' and are for "
            "model.type='mmdino.DINOv2'; other methods take "
            "train_dataloader.collate_fn=dict(type='default_collate')."
        )


def has_too_few_images(network: nn.Module, num_images: int) -> bool:
    """Whether a network has batch norms that would take statistics of one image of all ranks."""
    if num_images > 1:
        return False
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    norms = [norm for norm in norms if norm.training or norm.running_mean is None]
    ranks = get_world_size() if any(isinstance(m, SYNCHRONISED) for m in norms) else 1
    return bool(norms) and ranks < 2


def build_networks(configs: dict[str, dict | None]) -> nn.ModuleDict:
    """Builds the parts of a network by name, leaving out those without a config."""
    built = {name: MODELS.build(cfg) for name, cfg in configs.items() if cfg is not None}
    return nn.ModuleDict(built)


def feature(
    images: Tensor, backbone: nn.Module, neck: nn.Module | None = None, frugal: bool = False
) -> Tensor:
    """Maps images (B, C, H, W) to what heads see: the last output of backbone and neck, (B, D).

    Of :class:`Features` that is the class token.

    Args:
        images: The images.
        backbone: The backbone.
        neck: The neck.
        frugal: Whether a backbone that can leaves out what does not act on the class token.
    """
    images = in_fast_format(images, backbone)
    outputs = backbone(images, **reading(backbone, neck is not None or not frugal))
    if neck is not None:
        outputs = neck(outputs)
    return last_output(outputs)


def in_fast_format(images: Tensor, backbone: nn.Module) -> Tensor:
    """Returns images (B, C, H, W) in the memory format that the backbone is fast with.

    Convolutions in half precision want the channels last, and layers keep the format of what they
    get. In float32 it depends on the widths, and a backbone of patches has no maps.

    Args:
        images: The images.
        backbone: What sees them.
    """
    if is_autocast(images) and patch_stride(backbone) == (1, 1):
        return images.contiguous(memory_format=torch.channels_last)
    return images


def reading(backbone: nn.Module, patches: Tensor | bool) -> dict[str, Tensor | bool]:
    """Returns arguments of a backbone's forward pass that say which patches are read.

    Args:
        backbone: The backbone; one that cannot choose gets none.
        patches: As in :meth:`VisionTransformer.forward`.
    """
    return {"patches": patches} if getattr(backbone, "chooses_patches", False) else {}


def view_features(
    views: Sequence[Tensor],
    backbone: nn.Module,
    neck: nn.Module | None = None,
    separate: bool = False,
    micro_batch: int | None = None,
) -> Tensor:
    """Maps V views, each (B, C, H, W), to features (V * B, D).

    Args:
        views: The views.
        backbone: The backbone.
        neck: The neck.
        separate: Whether each view is a backbone call of its own; else consecutive views of one
            size share a call.
        micro_batch: Number of images in a call, as in :func:`recomputed`; None for all.

    Raises:
        ValueError: If features differ in shape, as maps of views of different sizes do.
    """
    if separate:
        groups = [[view] for view in views]
    else:
        groups = [list(same_size) for _, same_size in groupby(views, lambda view: view.shape[-2:])]
    features = [_group_feature(group, backbone, neck, micro_batch) for group in groups]
    shapes = sorted({tuple(feature.shape[1:]) for feature in features})
    if len(shapes) > 1:
        raise ValueError(
            f"The backbone gives features of shapes {shapes} for views of different sizes. A map "
            "needs a neck, such as model.neck=dict(type='GlobalAveragePooling')."
        )
    return torch.cat(features)


def _group_feature(
    views: list[Tensor], backbone: nn.Module, neck: nn.Module | None, micro_batch: int | None
) -> Tensor:
    """Features (n * B, D) of n views of one size."""
    if micro_batch is None:
        return feature(torch.cat(views), backbone, neck, frugal=True)
    chunks = zip(*(view.split(micro_batch) for view in views), strict=True)
    features = [
        recomputed(feature, (backbone, neck), torch.cat(chunk), backbone, neck, True).unflatten(
            0, (len(views), -1)
        )
        for chunk in chunks
    ]
    return torch.cat(features, dim=1).flatten(0, 1)


def recomputed(run: Callable[..., Any], networks: Sequence[nn.Module | None], *inputs: Any) -> Any:
    """Runs networks so that they keep no activations: the backward pass computes them again.

    The second forward pass sees the same random numbers and moves no running statistics.

    Args:
        run: What to run, a function of ``inputs``.
        networks: The networks in it.
        *inputs: Its arguments.
    """
    if not torch.is_grad_enabled():
        return run(*inputs)
    present = [network for network in networks if network is not None]
    return checkpoint(
        run,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), running_statistics_kept(present)),
    )


@contextmanager
def running_statistics_kept(networks: Sequence[nn.Module]) -> Iterator[None]:
    """A context in which forward passes do not move the running statistics of batch norms."""
    norms = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    # Not by track_running_stats, without which autograd saves other tensors than before.
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


@torch.no_grad()
def feature_spread(features: Tensor) -> Tensor:
    """Deviation of L2-normalised features (B, D) over the batch, times the root of D.

    About 1 for features spread over the sphere, 0 if all images have the same.
    """
    directions = nn.functional.normalize(features.float(), dim=1)
    return directions.std(0, correction=0).mean() * features.shape[1] ** 0.5


def input_width(module: nn.Module) -> int | None:
    """Returns the width of the vectors that a head takes, None where it does not tell.

    mmpretrain's necks do not, but their first linear layer does.
    """
    width = getattr(module, "in_channels", None)
    if width is None:
        linear = (layer for layer in module.modules() if isinstance(layer, nn.Linear))
        width = next((layer.in_features for layer in linear), None)
    return width


def check_feature(features: Tensor, width: int | None, name: str = "head") -> None:
    """Checks that features fit the module that comes next.

    Args:
        features: What it gets.
        width: The width that it takes, None where that is not known.
        name: What it is in the model's config.

    Raises:
        ValueError: If they are no vectors (B, D), or D is not the width.
    """
    if features.dim() == 2 and width in (None, features.shape[-1]):
        return
    source = "The head" if name == "predictor" else "The backbone"
    raise ValueError(
        f"{source} gives features of shape {tuple(features.shape[1:])}"
        + (f", but the {name} has in_channels={width}" if width is not None else "")
        + f". Set in_channels of the {name} to the width of the feature; a map needs a neck, such "
        "as dict(type='GlobalAveragePooling')."
    )


def patch_stride(backbone: nn.Module) -> tuple[int, int]:
    """Returns height and width of a patch, (1, 1) for a backbone without patches."""
    embedding = getattr(getattr(backbone, "timm_model", backbone), "patch_embed", None)
    # timm's name is the second.
    projection = getattr(embedding, "projection", getattr(embedding, "proj", None))
    return tuple(getattr(projection, "stride", (1, 1)))


def patch_grid(backbone: nn.Module, size: Sequence[int]) -> tuple[int, int]:
    """Returns rows and columns of patches of images of a size (height, width)."""
    rows, columns = (side // step for side, step in zip(size, patch_stride(backbone), strict=True))
    return rows, columns


def check_patches(backbone: nn.Module, height: int, width: int, option: str = "size") -> None:
    """Checks that a view divides into the patches of a backbone that has any.

    mmcv's patch embedding pads the view and says nothing.

    Args:
        backbone: The backbone.
        height: Height of the view, pixels.
        width: Its width.
        option: The option of a view group that sets them.

    Raises:
        ValueError: If it does not.
    """
    rows, columns = patch_stride(backbone)
    if height % rows or width % columns or min(height, width) < 1:
        raise ValueError(
            f"A view of {height} x {width} pixels does not divide into patches of {rows} x "
            f"{columns}. Change {option} of the view group (MultiCropTransform) or patch_size."
        )


def check_channels(backbone: nn.Module, preprocessor: nn.Module) -> None:
    """Checks that a backbone takes as many channels as its preprocessor gives.

    Raises:
        ValueError: If its first convolution does not.
    """
    mean = getattr(preprocessor, "mean", None)
    stem = next((m for m in backbone.modules() if isinstance(m, nn.Conv2d)), None)
    if mean is None or stem is None or stem.in_channels == len(mean):
        return
    raise ValueError(
        f"The data_preprocessor has mean and std of {len(mean)} channel(s), but the backbone "
        f"{type(backbone).__name__} takes {stem.in_channels}. Set the backbone's in_channels and "
        "the preprocessor's mean and std to the channels of the images."
    )

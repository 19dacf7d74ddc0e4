"""DINOv2."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from mmdino.models.backbones.features import Features
from mmdino.models.layers import LazyLogits
from mmdino.models.losses.ibot_loss import masked_patch_weights
from mmdino.models.selfsup.base import (
    check_feature,
    feature_spread,
    input_width,
    patch_grid,
    reading,
    recomputed,
)
from mmdino.models.selfsup.dino import DINO
from mmdino.models.selfsup.distillation import all_patches, build_frozen_teacher
from mmdino.models.selfsup.small_batch import small_batch_advice
from mmdino.models.selfsup.student_teacher import leaves_logits
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

HEADS = ("head", "patch_head")
NOT_USED = {
    "neck": None,
    "predictor": None,
    "separate_views": False,
    "teacher": "ema",
    "teacher_cfg": None,
}
"""Arguments of :class:`StudentTeacher` that only other methods have, and what they are here."""


@MODELS.register_module()
class DINOv2(DINO):
    """DINO with masked patches and spread class tokens (Oquab et al. 2023, section 4).

    The teacher sees the global views, the student masked global views and local views. The loss is
    that of :class:`DINO` on class tokens, plus :class:`IBOTLoss` on masked patches, plus
    :class:`KoLeoLoss` on the class tokens of the global views. Masks come with the batch, from the
    loader's ``collate_fn=dict(type="mmdino.BlockMasks", ...)``.

    Args:
        backbone: Config of :class:`VisionTransformer` or of a backbone that takes ``masks`` and
            ``local`` and gives :class:`Features`.
        head: Config of the projection head of class tokens.
        patch_head: Config of a head of its own for patches; None for that of the class tokens.
        loss: Arguments of :class:`DINOLoss`.
        ibot: Arguments of :class:`IBOTLoss`. The number of prototypes is that of the head.
        koleo: Arguments of :class:`KoLeoLoss`.
        ibot_weight: Weight of iBOT in the loss; 0 leaves it out.
        koleo_weight: Weight of KoLeo in the loss; 0 leaves it out.
        gram: Arguments of :class:`GramAnchor`, which anchors the similarities between patches to
            those of an earlier model (DINOv3); None leaves it out.
        frozen_teacher: For distillation: configs of the ``backbone``, ``head`` and, if the student
            has one, ``patch_head`` of a larger network, and ``checkpoint``, a checkpoint of a run
            of DINOv2 with it. The targets come from the teacher in that file, which stays as it is;
            the model's own teacher is a moving average of the student that no loss depends on, and
            the network to keep. The student's views are not masked. It learns from all patches of
            the global views, as in the paper, or from those of the batch's masks, if it has any, as
            in DINOv3's code.
        **kwargs: Other arguments of :class:`StudentTeacher`, but for those in ``NOT_USED``.

    Raises:
        ValueError: If a weight is negative, ``patch_head`` has no type, an argument is not used, or
            a frozen teacher does not go with the student or the Gram teacher; from the run, if the
            batch has no masks, they do not fit the views, the backbone gives no :class:`Features`,
            or a head takes another width.

    Example:
        >>> model = dict(
        ...     type="mmdino.DINOv2",
        ...     backbone=dict(type="mmdino.VisionTransformer", arch="vit-s", out_type="features"),
        ...     head=dict(type="mmdino.DINOHead", in_channels=384, norm_last_layer=False))
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        patch_head: dict | None = None,
        loss: dict | None = None,
        ibot: dict | None = None,
        koleo: dict | None = None,
        ibot_weight: float = 1.0,
        koleo_weight: float = 0.1,
        gram: dict | None = None,
        frozen_teacher: dict | None = None,
        compile: dict | None = None,
        **kwargs: Any,
    ) -> None:
        require_number("DINOv2", "ibot_weight", ibot_weight, least=0)
        refuse_other_methods(kwargs)
        if patch_head is not None and "type" not in patch_head:
            raise ValueError(
                f"DINOv2 got patch_head={dict(patch_head)} without a type. Give all of it, such as "
                "dict(type='mmdino.DINOHead', in_channels=384, norm_last_layer=False), or leave it "
                "out: patches then share the head of the class tokens (model.head)."
            )
        parts = {} if patch_head is None else {"patch_head": patch_head}
        super().__init__(backbone, head, loss, koleo, koleo_weight, parts=parts, **kwargs)
        self.ibot_weight = ibot_weight
        self.ibot_loss = None
        if ibot_weight:
            prototypes = (patch_head or head).get("out_channels", self.head.out_channels)
            cfg = {"type": "mmdino.IBOTLoss", "num_prototypes": prototypes, **(ibot or {})}
            self.ibot_loss = MODELS.build(cfg)
        if patch_head is not None:
            self._widths["patch_head"] = input_width(self.patch_head)
        self.gram_anchor = None
        if gram is not None:
            self.gram_anchor = MODELS.build(
                {"type": "mmdino.GramAnchor", "backbone": backbone, **gram}
            )
            self.gram_anchor.check_student(self.backbone)
        self.frozen_teacher = None
        if frozen_teacher is not None:
            self.frozen_teacher = build_frozen_teacher(
                frozen_teacher, self.networks()[0], self.data_preprocessor, bool(ibot_weight)
            )
            if self.gram_anchor is not None and self.gram_anchor.backbone is None:
                raise ValueError(
                    "DINOv2 got a frozen_teacher and gram, whose teacher is that of moving "
                    "averages: it does not run in a distillation. Give the Gram teacher a network "
                    "of its own (model.gram.teacher=dict(...)), or leave out gram."
                )
        # After all networks are there.
        if compile is not None:
            self.compile_backbones(compile)

    @property
    def needs(self) -> set[str]:
        """The teacher has to be moved, and so have the centres of both losses."""
        parts = (self.ibot_loss, self.gram_anchor)
        return super().needs.union(*(getattr(part, "needs", ()) for part in parts))

    @property
    def starts_anew(self) -> tuple[str, ...]:
        """Gram and frozen teacher are those of the config, whatever weights a run starts from."""
        parts = {"gram_anchor.": self.gram_anchor, "frozen_teacher.": self.frozen_teacher}
        return tuple(name for name, part in parts.items() if part is not None)

    def networks(self) -> list[dict[str, nn.Module]]:
        """Returns the parts of student, teacher and, where it is another network, Gram teacher."""
        backbone = getattr(self.gram_anchor, "backbone", None)
        return super().networks() + ([] if backbone is None else [{"backbone": backbone}])

    def train(self, mode: bool = True) -> DINOv2:
        """Sets the mode; the teacher's backbone stays in eval mode, with its positions as they are.

        Batch norms of its heads see its own forward passes, as in DINO.
        """
        super().train(mode)
        if self.teacher is not None:
            self.teacher["backbone"].eval()
        return self

    def frozen_networks(self) -> list[nn.ModuleDict]:
        """Returns the teacher of a distillation."""
        return [] if self.frozen_teacher is None else [self.frozen_teacher.network]

    def loss(
        self,
        inputs: list[Tensor],
        data_samples: list[Any] | None = None,
        masks: Tensor | None = None,
        mask_indices: Tensor | None = None,
        clean_views: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            inputs: V views, each (B, C, H, W), the global ones first.
            data_samples: Not used: there are no labels.
            masks: Masks (G, B, P), bool, True where a patch of a global view is masked. With a
                frozen teacher nothing is masked: they choose patches, and None chooses all.
            mask_indices: Positions (M,) of the masked patches in the flattened masks.
            clean_views: G undistorted crops of the regions of the global views, each (B, C, h, w),
                for the Gram teacher.

        Returns:
            ``loss``; its terms with their weights, ``dino``, ``ibot``, ``koleo`` and ``gram``; the
            metrics of :class:`DINOLoss`; ``ibot_ce_over_lnk``, ``ibot_entropy`` and
            ``nearest_distance`` of the other losses; and ``feature_std``.

        Raises:
            ValueError: If there are no masks, or they do not fit the views.
        """
        self.check_views(inputs)
        num_global, batch_size = self.num_global_views, len(inputs[0])
        global_views, local_views = inputs[:num_global], inputs[num_global:]
        if self.frozen_teacher is not None and masks is None:
            masks, mask_indices = all_patches(global_views, self.backbone)
        check_masks(masks, mask_indices, inputs, self.num_global_views, self.backbone)
        student_masks = masks.flatten(0, 1) if self.frozen_teacher is None else None
        read = self._read_patches(mask_indices, masks.numel())
        with torch.no_grad():
            class_targets, patch_targets, teacher_patches = self._targets(
                global_views, mask_indices, read
            )
        tokens, patches = view_tokens(
            global_views, self.backbone, student_masks, micro_batch=self.micro_batch, read=read
        )
        class_tokens = [tokens]
        for _, same_size in groupby(local_views, lambda view: view.shape[-2:]):
            local_tokens, _ = view_tokens(
                list(same_size), self.backbone, None, True, self.micro_batch, read=False
            )
            class_tokens.append(local_tokens)
        class_tokens = torch.cat(class_tokens)
        check_widths(class_tokens, self._widths)

        shape = (len(inputs), batch_size)
        metrics = self._class_metrics(class_tokens, class_targets, shape)
        terms = {"dino": metrics.pop("loss") * dino_scale(num_global, len(local_views))}
        if self.ibot_loss is not None:
            masked = chosen_patches(patches, mask_indices)
            weights = masked_patch_weights(masks, mask_indices)
            found = self._patch_metrics(masked, patch_targets, weights)
            terms["ibot"] = self.ibot_weight * found["loss"]
            metrics["ibot_ce_over_lnk"] = found["ce_over_lnk"]
            metrics["ibot_entropy"] = found["teacher_entropy"]
        if self.koleo_loss is not None:
            terms["koleo"], found = self._koleo_term(tokens.unflatten(0, (num_global, batch_size)))
            metrics |= found
        if self.gram_anchor is None:
            refuse_clean_views(clean_views)
        else:
            terms["gram"] = self.gram_anchor(
                patches,
                teacher_patches,
                global_views,
                clean_views,
                masks.flatten(0, 1),
                self.micro_batch,
            )
        return {
            "loss": sum(terms.values()),
            **{name: term.detach() for name, term in terms.items()},
            **metrics,
            "feature_std": feature_spread(tokens[:batch_size]),
        }

    def batch_advice(self, num_images: int) -> str | None:
        """Returns what users saw with as few images in an optimiser step; None for many."""
        return small_batch_advice(num_images, self.criterion)

    def _read_patches(self, mask_indices: Tensor, num_patches: int) -> Tensor | bool:
        """Which patches of the global views a loss reads, as backbones take it."""
        if self.gram_anchor is not None:
            return True
        if self.ibot_loss is None:
            return False
        # A compiled backbone would get a graph for each number of masked patches.
        whole = self.micro_batch is not None or self.is_compiled
        return True if whole or len(mask_indices) == num_patches else mask_indices

    def _targets(
        self, global_views: Sequence[Tensor], mask_indices: Tensor, read: Tensor | bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The teacher's logits of class tokens (G, B, K) and masked patches (M, K); its patches."""
        teacher = self.teacher
        if self.frozen_teacher is not None:
            teacher = self.frozen_teacher.for_images(global_views[0])
        tokens, patches = view_tokens(
            global_views, teacher["backbone"], micro_batch=self.micro_batch, read=read
        )
        if self.frozen_teacher is None:
            check_widths(tokens, self._widths)
        class_logits = teacher["head"](tokens).unflatten(0, (len(global_views), -1))
        if self.ibot_loss is None:
            return class_logits, None, patches
        head = teacher["patch_head" if "patch_head" in teacher else "head"]
        return class_logits, head(chosen_patches(patches, mask_indices)), patches

    def _class_metrics(
        self, tokens: Tensor, targets: Tensor, shape: tuple[int, int]
    ) -> dict[str, Tensor]:
        def use(logits: Tensor | LazyLogits) -> dict[str, Tensor]:
            return self.criterion(logits.unflatten(0, shape), targets)

        return run_head(self.head, tokens, self.criterion, use)

    def _patch_metrics(
        self, patches: Tensor, targets: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        def use(logits: Tensor | LazyLogits) -> dict[str, Tensor]:
            return self.ibot_loss(logits, targets, weights)

        return run_head(getattr(self, "patch_head", self.head), patches, self.ibot_loss, use)


def run_head(
    head: nn.Module,
    x: Tensor,
    loss: nn.Module,
    use: Callable[[Tensor | LazyLogits], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Passes the logits of a head to ``use``, not computed yet where head and loss allow that."""
    return head(x, use) if leaves_logits(head, loss) else use(head(x))


def refuse_other_methods(options: Mapping[str, Any]) -> None:
    """Refuses arguments that the loss of DINOv2 would not heed.

    Raises:
        ValueError: If there is one.
    """
    for name, value in NOT_USED.items():
        if options.get(name, value) != value:
            raise ValueError(
                f"DINOv2 got {name}={options[name]!r}, but it has backbone, heads and a teacher of "
                f"moving averages alone. Leave {name} out; to distil from another network set "
                "model.frozen_teacher."
            )


def check_widths(tokens: Tensor, widths: Mapping[str, int | None]) -> None:
    """Checks that tokens (N, D) fit the heads of class tokens and patches.

    Args:
        tokens: The tokens.
        widths: The width that each head takes, by name, None where that is not known.

    Raises:
        ValueError: If a head takes another width.
    """
    for name in HEADS:
        if name in widths:
            check_feature(tokens, widths[name], name)


def dino_scale(num_global: int, num_local: int) -> float:
    """Factor of the mean over pairs that makes it the sum of both class terms of the authors.

    They divide by the number of pairs of global views, plus that of pairs with local views or 1
    where there are none.
    """
    global_pairs, local_pairs = num_global * (num_global - 1), num_global * num_local
    return (global_pairs + local_pairs) / (global_pairs + max(local_pairs, 1))


def view_tokens(
    views: Sequence[Tensor],
    backbone: nn.Module,
    masks: Tensor | None = None,
    local: bool = False,
    micro_batch: int | None = None,
    read: Tensor | bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Maps n views of one size, each (B, C, H, W), to class tokens and patches.

    Args:
        views: The views.
        backbone: The backbone.
        masks: Masks (n * B, P) of their patches.
        local: Whether they are local views.
        micro_batch: Number of images of whose views the backbone sees a call; None for all.
        read: Which patches are read: all, none, or those at positions (M,) among the flattened
            (n * B, P), where the backbone sees all views at once.

    Returns:
        Class tokens (n * B, D) and patches: (n * B, P, D), or (M, D) where the backbone chose them,
        or None where it gave none.

    Raises:
        ValueError: If the backbone gives no :class:`Features`.
    """
    images = torch.cat(list(views))
    rows = len(images) if micro_batch is None else micro_batch * len(views)
    tokens, patches = [], []
    chunks = images.split(rows)
    chunk_masks = [None] * len(chunks) if masks is None else masks.split(rows)
    for chunk, chunk_mask in zip(chunks, chunk_masks, strict=True):
        inputs = (chunk, backbone, chunk_mask, local, read)
        if micro_batch is None:
            found = _tokens(*inputs)
        else:
            found = recomputed(_tokens, (backbone,), *inputs)
        tokens.append(found[0])
        patches.append(found[1])
    return torch.cat(tokens), None if patches[0] is None else torch.cat(patches)


def chosen_patches(patches: Tensor, indices: Tensor) -> Tensor:
    """Returns the patches (M, D) at positions (M,) of :func:`view_tokens`, chosen or not yet."""
    return patches if patches.dim() == 2 else patches.flatten(0, 1)[indices]


def _tokens(
    images: Tensor, backbone: nn.Module, masks: Tensor | None, local: bool, read: Tensor | bool
) -> tuple[Tensor, Tensor | None]:
    (*_, output) = backbone(images, masks=masks, local=local, **reading(backbone, read))
    if not isinstance(output, Features):
        raise ValueError(
            "DINOv2 needs class token and patches, but the backbone gives a "
            f"{type(output).__name__}. Set model.backbone.out_type='features'."
        )
    return output.cls, output.patches


def refuse_clean_views(clean_views: Sequence[Tensor] | None) -> None:
    """Refuses undistorted crops that nothing looks at.

    Raises:
        ValueError: If there are any.
    """
    if clean_views is not None:
        raise ValueError(
            "DINOv2 got undistorted crops, which only the Gram teacher looks at. Set model.gram, "
            "or leave clean_size out of the view groups of MultiCropTransform."
        )


def check_masks(
    masks: Tensor | None,
    mask_indices: Tensor | None,
    views: Sequence[Tensor],
    num_global: int,
    backbone: nn.Module,
) -> None:
    """Checks that a batch has masks that fit its global views.

    Raises:
        ValueError: If it has none, or they are for other views or another size of patches.
    """
    if masks is None or mask_indices is None:
        raise ValueError(
            "DINOv2 got a batch without masks. Set train_dataloader.collate_fn=dict("
            "type='mmdino.BlockMasks', view_size=..., patch_size=...)."
        )
    expected = (num_global, len(views[0]), math.prod(patch_grid(backbone, views[0].shape[-2:])))
    if tuple(masks.shape) != expected:
        raise ValueError(
            f"DINOv2 got masks of shape {tuple(masks.shape)}, but (global views, images, patches) "
            f"are {expected}. Set view_size, patch_size and num_global_views of "
            "train_dataloader.collate_fn to those of the global views and of the backbone."
        )

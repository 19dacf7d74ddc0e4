"""DINOv2's training step written out plainly: the baseline of the benchmarks.

It does what the authors' code does on one device. The masked patches alone pass the heads, in a
buffer as long as the masks may at most be. Stochastic depth computes the kept rows alone. The
attention is torch's fused one, where the authors have that of xFormers. All logits, targets and
log-softmaxes exist at once. Clipping is ``clip_grad_norm_`` of each network, the teacher moves by
two multi-tensor calls, and AdamW is torch's default. A test shows that it computes the same as
:class:`DINOv2`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.plain_step import (
    CLIP_NORM,
    LR,
    MOMENTUM,
    WEIGHT_DECAY,
    PlainHead,
    PlainVisionTransformer,
    plain_normalise,
)
from mmdino.models import DINOv2, VisionTransformer
from mmdino.models.backbones.vision_transformer import interpolate_pos_embed
from mmdino.models.layers import at_least_float32

KOLEO_EPS = 1e-8


class PlainMaskedTransformer(PlainVisionTransformer):
    """A plain ViT with mask token, LayerScale and stochastic depth by rows.

    Args:
        source: Backbone whose layers it copies.
    """

    def __init__(self, source: VisionTransformer) -> None:
        super().__init__(source)
        self.mask_token = nn.Parameter(source.mask_token.detach().clone())
        for block, layer in zip(self.blocks, source.layers, strict=True):
            block["scale1"] = _layer_scale(layer.attn.gamma1)
            block["scale2"] = _layer_scale(layer.ffn.gamma2)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps images (B, C, H, W) with masks (B, P) to class tokens (B, D), patches (B, P, D)."""
        x = self.patches(images)
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        if masks is not None:
            x = torch.where(masks.unsqueeze(-1), self.mask_token.to(x.dtype).unsqueeze(0), x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + interpolate_pos_embed(self.pos_embed, self.grid, grid, 1)
        for block in self.blocks:
            x = self._add(x, lambda rows, block=block: self._attention(rows, block), block)
            x = self._add(x, lambda rows, block=block: self._feed_forward(rows, block), block)
        x = self.norm(x)
        return x[:, 0], x[:, 1:]

    def _add(self, x: Tensor, branch: Callable[[Tensor], Tensor], block: nn.ModuleDict) -> Tensor:
        rate = block["drop"].drop_prob
        if not self.training or rate == 0:
            return x + branch(x)
        number = max(int(len(x) * (1 - rate)), 1)
        rows = torch.randperm(len(x), device=x.device)[:number]
        added = branch(x[rows]).to(x.dtype)
        return torch.index_add(x, 0, rows, added, alpha=len(x) / number)

    def _attention(self, x: Tensor, block: nn.ModuleDict) -> Tensor:
        qkv = block["qkv"](block["norm1"](x))
        qkv = qkv.reshape(*qkv.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*qkv.unbind(0))
        return block["scale1"](block["proj"](attended.transpose(1, 2).flatten(2)))

    def _feed_forward(self, x: Tensor, block: nn.ModuleDict) -> Tensor:
        hidden = functional.gelu(block["fc1"](block["norm2"](x)))
        return block["scale2"](block["fc2"](hidden))


class _PlainLayerScale(nn.Module):
    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.gamma = nn.Parameter(factor.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def _layer_scale(source: nn.Module) -> nn.Module:
    return nn.Identity() if isinstance(source, nn.Identity) else _PlainLayerScale(source.weight)


class PlainDINOv2Step:
    """The training step of plain networks with the weights and the device of a ``DINOv2``.

    Args:
        source: Model with centred targets, whose weights, temperatures and normalisation it copies.
        dtype: Dtype of autocast; None disables it.
    """

    def __init__(self, source: DINOv2, dtype: torch.dtype | None = None) -> None:
        self.device = source.head.last_layer.weight_v.device
        self.dtype = dtype
        self.preprocessor = source.data_preprocessor
        self.student, self.teacher = (
            nn.ModuleDict(
                {
                    name: (PlainMaskedTransformer if name == "backbone" else PlainHead)(part)
                    for name, part in network.items()
                }
            ).to(self.device)
            for network in source.networks()
        )
        self.teacher.requires_grad_(False).eval()
        self.student_temp = source.dino_loss.student_temp
        self.teacher_temp = source.dino_loss.current_teacher_temp
        self.center = source.dino_loss.center.clone()
        self.patch_center = source.ibot_loss.center.clone()
        self.center_momentum = source.dino_loss.center_momentum
        self.koleo_weight = source.koleo_weight
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.student.parameters() if p.ndim > 1]},
                {
                    "params": [p for p in self.student.parameters() if p.ndim == 1],
                    "weight_decay": 0.0,
                },
            ],
            lr=LR,
            weight_decay=WEIGHT_DECAY,
        )

    def __call__(
        self,
        views: Sequence[Tensor],
        masks: Tensor,
        mask_indices: Tensor,
        most_masked: int | None = None,
    ) -> Tensor:
        """Trains on V views (B, C, H, W) in uint8, the two global ones first; returns the loss.

        Args:
            views: The views.
            masks: Masks (2, B, P).
            mask_indices: Positions (M,) of masked patches in the flattened masks.
            most_masked: Rows of the buffer of masked patches; by default M.
        """
        views = [plain_normalise(view.to(self.device), self.preprocessor) for view in views]
        masks, count = masks.flatten(0, 1), len(mask_indices)
        rows = most_masked or count
        enabled = self.dtype is not None
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled):
            with torch.no_grad():
                targets, patch_targets = self._targets(torch.cat(views[:2]), mask_indices, rows)
            tokens, patches = self.student["backbone"](torch.cat(views[:2]), masks)
            local_tokens, _ = self.student["backbone"](torch.cat(views[2:]))
            global_logits, local_logits, patch_logits = self._project(
                self.student, [tokens, local_tokens], self._buffer(patches, mask_indices, rows)
            )
        num_local = len(views) - 2
        terms = 2 + max(2 * num_local, 1)
        local_loss = sum(
            -(target * log_probs).sum(-1).mean()
            for log_probs in map(self._log_probs, local_logits.chunk(num_local))
            for target in targets.chunk(2)
        )
        crossed = torch.cat(targets.chunk(2)[::-1])
        global_loss = -(crossed * self._log_probs(global_logits)).sum(-1).mean()
        weights = 1 / masks.sum(-1).clamp_min(1).to(self.patch_center)
        weights = weights[mask_indices // masks.shape[1]]
        entropies = -(patch_targets * self._log_probs(patch_logits[:count])).sum(-1)
        koleo = sum(koleo_of(view) for view in tokens.chunk(2))
        loss = (
            (local_loss + 2 * global_loss) / terms
            + (entropies * weights).sum() / len(masks)
            + self.koleo_weight * koleo
        )
        loss.backward()
        for network in self.student.values():
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._move_teacher()
        return loss.detach()

    def _targets(self, images: Tensor, mask_indices: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Targets of class tokens (2 * B, K) and of masked patches (M, K); moves the centres."""
        tokens, patches = self.teacher["backbone"](images)
        class_logits, patch_logits = self._project(
            self.teacher, [tokens], self._buffer(patches, mask_indices, rows)
        )
        class_logits = at_least_float32(class_logits)
        patch_logits = at_least_float32(patch_logits[: len(mask_indices)])
        targets = torch.softmax((class_logits - self.center) / self.teacher_temp, dim=-1)
        patch_targets = torch.softmax(
            (patch_logits - self.patch_center) / self.teacher_temp, dim=-1
        )
        self.center = self.center.lerp(class_logits.mean(0), 1 - self.center_momentum)
        self.patch_center = self.patch_center.lerp(patch_logits.mean(0), 1 - self.center_momentum)
        return targets, patch_targets

    @staticmethod
    def _buffer(patches: Tensor, mask_indices: Tensor, rows: int) -> Tensor:
        buffer = patches.new_zeros(rows, patches.shape[-1])
        buffer[: len(mask_indices)] = patches.flatten(0, 1)[mask_indices]
        return buffer

    @staticmethod
    def _project(
        network: nn.ModuleDict, tokens: Sequence[Tensor], patches: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits of groups of class tokens and of patches, by one call if the head is shared."""
        sizes = [len(group) for group in tokens]
        if "patch_head" not in network:
            return network["head"](torch.cat([*tokens, patches])).split([*sizes, len(patches)])
        logits = network["head"](torch.cat(list(tokens))).split(sizes)
        return *logits, network["patch_head"](patches)

    def _log_probs(self, logits: Tensor) -> Tensor:
        return functional.log_softmax(at_least_float32(logits) / self.student_temp, dim=-1)

    @torch.no_grad()
    def _move_teacher(self) -> None:
        slow, fast = (list(network.parameters()) for network in (self.teacher, self.student))
        torch._foreach_mul_(slow, MOMENTUM)
        torch._foreach_add_(slow, fast, alpha=1 - MOMENTUM)


def koleo_of(features: Tensor) -> Tensor:
    """The KoLeo loss of one global view's class tokens (B, D)."""
    features = functional.normalize(at_least_float32(features), dim=-1, eps=KOLEO_EPS)
    with torch.no_grad():
        products = features @ features.T
        nearest = products.fill_diagonal_(-1).argmax(1)
    distances = nn.PairwiseDistance(2, eps=KOLEO_EPS)(features, features[nearest])
    return -(distances + KOLEO_EPS).log().mean()

"""DINO's training step written out plainly: the baseline of the benchmarks.

Two groups of views, explicit attention, a log-softmax for each pair of views, loops over tensors
for clipping and the teacher. A test shows that it computes the same as :class:`DINO`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from mmdino.models import DINO, DINOHead, MultiViewPreprocessor, VisionTransformer
from mmdino.models.backbones.vision_transformer import interpolate_pos_embed
from mmdino.models.layers import at_least_float32

LR, WEIGHT_DECAY, CLIP_NORM, MOMENTUM = 1e-5, 0.04, 3.0, 0.996
"""Hyperparameters of both steps; the learning rate is so small that the weights hardly change."""


class PlainVisionTransformer(nn.Module):
    """A plain ViT with the weights of a ``VisionTransformer``.

    Args:
        source: Backbone whose layers it copies.
    """

    def __init__(self, source: VisionTransformer) -> None:
        super().__init__()
        source = copy.deepcopy(source)
        self.grid = source.patch_resolution
        self.num_heads = source.layers[0].attn.num_heads
        self.patches = source.patch_embed.projection
        self.cls_token, self.pos_embed = source.cls_token, source.pos_embed
        self.blocks = nn.ModuleList(_plain_block(layer) for layer in source.layers)
        self.norm = source.ln1

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to class tokens (B, D)."""
        x = self.patches(images)
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + interpolate_pos_embed(self.pos_embed, self.grid, grid, 1)
        for block in self.blocks:
            attended = block["proj"](self._attend(block["qkv"](block["norm1"](x))))
            x = x + block["drop"](attended)
            hidden = functional.gelu(block["fc1"](block["norm2"](x)))
            x = x + block["drop"](block["fc2"](hidden))
        return self.norm(x)[:, 0]

    def _attend(self, qkv: Tensor) -> Tensor:
        batch_size, tokens, _ = qkv.shape
        qkv = qkv.reshape(batch_size, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
        return (weights @ value).transpose(1, 2).reshape(batch_size, tokens, -1)


def _plain_block(layer: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "norm1": layer.ln1,
            "qkv": layer.attn.qkv,
            "proj": layer.attn.proj,
            "norm2": layer.ln2,
            "fc1": layer.ffn.layers[0][0],
            "fc2": layer.ffn.layers[1],
            "drop": DropPath(layer.drop_path.drop_prob),
        }
    )


class PlainHead(nn.Module):
    """The projection head with torch's weight normalisation.

    Args:
        source: Head whose weights it copies.
    """

    def __init__(self, source: DINOHead) -> None:
        super().__init__()
        self.mlp = copy.deepcopy(source.mlp)
        prototypes, width = source.last_layer.weight_v.shape
        self.last_layer = weight_norm(
            nn.Linear(width, prototypes, bias=False).to(source.last_layer.weight_v)
        )
        gain, direction = self.last_layer.parametrizations.weight.parameters()
        with torch.no_grad():
            gain.copy_(source.last_layer.weight_g)
            direction.copy_(source.last_layer.weight_v)
        gain.requires_grad_(source.last_layer.weight_g.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, D) to logits (B, K)."""
        return self.last_layer(functional.normalize(self.mlp(x), dim=-1))


def per_pair_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    center: Tensor,
    num_views: int,
    num_globals: int = 2,
    student_temp: float = 0.1,
    teacher_temp: float = 0.04,
) -> Tensor:
    """Equation 3 of Caron et al. 2021 with a log-softmax for each pair of views.

    Args:
        student_logits: Logits (V * B, K), the global views first.
        teacher_logits: Logits (G * B, K).
        center: Centre (1, K).
        num_views: Number V of views.
        num_globals: Number G of global views.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher.
    """
    student = (student_logits / student_temp).chunk(num_views)
    targets = torch.softmax((teacher_logits - center) / teacher_temp, dim=-1)
    targets = targets.detach().chunk(num_globals)
    total, pairs = 0.0, 0
    for index, target in enumerate(targets):
        for view, logits in enumerate(student):
            if view != index:
                log_probs = functional.log_softmax(logits, dim=-1)
                total = total + torch.sum(-target * log_probs, dim=-1).mean()
                pairs += 1
    return total / pairs


@torch.no_grad()
def clip_one_by_one(parameters: Sequence[Tensor], max_norm: float = CLIP_NORM) -> None:
    """Clips each gradient by its own norm, one tensor at a time."""
    for parameter in parameters:
        if parameter.grad is not None:
            scale = max_norm / (parameter.grad.norm(2) + 1e-6)
            if scale < 1:
                parameter.grad.mul_(scale)


@torch.no_grad()
def move_one_by_one(teacher: Sequence[Tensor], student: Sequence[Tensor], momentum: float) -> None:
    """Moves the teacher towards the student, one tensor at a time."""
    for slow, fast in zip(teacher, student, strict=True):
        slow.mul_(momentum).add_((1 - momentum) * fast.detach())


def plain_normalise(view: Tensor, preprocessor: MultiViewPreprocessor) -> Tensor:
    """Normalises a view (B, C, H, W) in uint8 with the numbers of a preprocessor."""
    view = view.flip(1) if preprocessor.bgr_to_rgb else view
    return (view.to(preprocessor.mean.dtype) - preprocessor.mean) / preprocessor.std


class PlainStep:
    """The training step of a plain network with the weights and the device of a ``DINO``.

    Args:
        source: Model whose weights, temperatures and normalisation it copies.
        dtype: Dtype of autocast; None disables it.
    """

    def __init__(self, source: DINO, dtype: torch.dtype | None = None) -> None:
        self.device = source.head.last_layer.weight_v.device
        self.dtype = dtype
        self.preprocessor = source.data_preprocessor
        self.student, self.teacher = (
            nn.ModuleList([PlainVisionTransformer(backbone), PlainHead(head)]).to(self.device)
            for backbone, head in (
                (source.backbone, source.head),
                (source.teacher["backbone"], source.teacher["head"]),
            )
        )
        self.temps = {
            "student_temp": source.dino_loss.student_temp,
            "teacher_temp": source.dino_loss.current_teacher_temp,
        }
        self.center = source.dino_loss.center.clone()
        self.center_momentum = source.dino_loss.center_momentum
        self.teacher.requires_grad_(False)
        trained = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in trained if p.ndim > 1]},
                {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
            ],
            lr=LR,
            weight_decay=WEIGHT_DECAY,
        )

    def __call__(self, views: Sequence[Tensor]) -> Tensor:
        """Trains on V views (B, C, H, W) in uint8, the two global ones first; returns the loss."""
        views = [plain_normalise(view.to(self.device), self.preprocessor) for view in views]
        enabled = self.dtype is not None
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled):
            with torch.no_grad():
                teacher_logits = self._project(self.teacher, [views[:2]])
            student_logits = self._project(self.student, [views[:2], views[2:]])
        loss = per_pair_loss(
            at_least_float32(student_logits),
            at_least_float32(teacher_logits),
            self.center,
            len(views),
            **self.temps,
        )
        with torch.no_grad():
            mean = at_least_float32(teacher_logits).sum(0, keepdim=True) / len(teacher_logits)
            kept = self.center_momentum
            self.center = self.center * kept + mean * (1 - kept)
        loss.backward()
        clip_one_by_one(list(self.student.parameters()))
        self.optimizer.step()
        self.optimizer.zero_grad()
        move_one_by_one(list(self.teacher.parameters()), list(self.student.parameters()), MOMENTUM)
        return loss.detach()

    @staticmethod
    def _project(network: nn.ModuleList, groups: Sequence[Sequence[Tensor]]) -> Tensor:
        backbone, head = network
        return head(torch.cat([backbone(torch.cat(list(group))) for group in groups if group]))

"""The vision transformer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.model import BaseModule
from mmpretrain.models.utils import build_norm_layer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdino.models.backbones.features import Features
from mmdino.models.layers import (
    FFN,
    NO_POSITIONS,
    PatchEmbedding,
    RelativePositions,
    TransformerBlock,
    interpolate_pos_embed,
    read_tokens,
)
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number
from mmdino.weights.layouts.renaming import strip_prefix
from mmdino.weights.matching import copy_shared_positions
from mmdino.weights.pretrained import load_pretrained, pretrained_cfg
from mmdino.weights.specs import VIT_ARCHS

NORM_CFG = {"type": "LN", "eps": 1e-6}
OUT_TYPES = ("cls_token", "featmap", "raw", "features")
WEIGHT_INITS = ("truncated_normal", "beit")
STD = 0.02
"""Deviation of the normal distribution that weights start from."""


@MODELS.register_module()
class VisionTransformer(BaseModule):
    """ViT as the authors of DINO, DINOv2 and DINOv3 have it (Dosovitskiy et al. 2021).

    Parameters have the names of mmpretrain's ``VisionTransformer``, so weights move freely between
    the two.

    The tokens of an image are, in this order, the class token, the registers and the patches.

    Args:
        arch: ``"vit-s"``, ``"vit-b"``, ``"vit-l"`` or ``"vit-g"`` (the giant of DINOv2, 1536 wide,
            with ``ffn="swiglu"``), a name in mmpretrain's ``VisionTransformer.arch_zoo``, or a dict
            with ``embed_dims``, ``num_layers``, ``num_heads`` and ``feedforward_channels``.
            ``"vit-s"`` is mmpretrain's ``"deit-small"`` (384 wide, 12 deep), whose ``"small"`` is
            another network, 768 wide and 8 deep. ViT-Ti is ``"deit-tiny"``.
        img_size: Size the position embeddings are learned for, an int or (height, width).
        patch_size: Side of a patch in pixels.
        in_channels: Channels of an image.
        out_indices: Blocks whose output is returned; -1 is the last.
        out_type: What an output is: ``"cls_token"`` (B, D), ``"featmap"`` (B, D, h, w), ``"raw"``
            all tokens (B, N, D), or ``"features"`` (:class:`Features`).
        norm_outputs: Whether the final norm acts on the output of every block in ``out_indices``,
            as the authors' linear evaluation has it, and not of the last block alone.
        final_norm: Whether there is a final norm.
        pre_norm: Whether tokens are normalised before the first block, as in CLIP. The patch
            embedding then has no bias.
        qkv_bias: Whether queries, keys and values have a bias.
        key_bias: Whether that bias acts on the keys; in DINOv3 it does not.
        ffn: Feed-forward network: ``"mlp"``, ``"mlp_quick_gelu"`` of CLIP, or the gated
            ``"swiglu"``, whose width is two thirds of ``feedforward_channels``, rounded up to a
            multiple of 8 (``"swiglu64"``: of 64).
        drop_rate: Dropout of embedded tokens, attention outputs and feed-forward networks.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
        drop_path_uniform: Whether all blocks have the rate of the last, as in DINOv2.
        drop_path_rows: Whether a fixed number of samples of a batch skips a branch, and is not
            computed, as in DINOv2; else each sample skips by chance and is computed.
        layer_scale_init_value: Initial value of the blocks' LayerScale; 0 for none.
        norm_cfg: Config of the norms.
        num_registers: Number R of register tokens (Darcet et al. 2024), DINOv3's storage tokens.
        mask_token: Whether there is a token that stands in for masked patches; it starts from 0.
        token_std: Deviation of the normal distribution that class token and registers start from:
            1e-6 in DINOv2, 0.02 in DINOv3. None for DINO's class token, truncated at 2 of 0.02,
            and DINOv2's registers.
        local_norm: Whether class token and registers of local views have a final norm of their own
            in training, as in DINOv3's largest model; see :meth:`forward`.
        learned_positions: Whether learned position embeddings are added to the tokens.
        pos_embed_offset: Added to the target grid when embeddings are interpolated: the scale is
            (grid + offset) / source grid. The authors' weights are trained with 0.1; 0 gives
            mmpretrain's scale. DINOv2 with registers has 0 and ``pos_embed_antialias``.
        pos_embed_antialias: Whether embeddings are low-pass filtered for a smaller grid.
        interpolate_mode: Interpolation of ``torch.nn.functional.interpolate`` for embeddings.
        position_encoding: Config of a module that maps a grid to :class:`RelativePositions`, which
            act in the attention of every block, such as :class:`RotaryPositions` or
            :class:`RelativePositionBias`. It is called for each block if its ``varies`` is true,
            else once.
        position_encoding_per_block: Whether each block has such a module of its own, as in the
            fine-tuning of a network that shared one. Weights with a shared one are copied to every
            block.
        weight_init: ``"truncated_normal"``: linear weights start from a normal distribution of
            deviation 0.02, cut at -2 and 2, biases from 0 and the patch embedding as torch has it
            (DINO). ``"beit"``: those weights, the patch embedding and the class token are cut at
            one deviation, and the last layer of both branches of block l, from 1 on, is divided by
            sqrt(2 l) (Bao et al. 2022; the students of feature distillation).
        frozen_stages: Number of first blocks that are frozen, with all before them; 0 or less
            freezes nothing.
        with_cp: Whether a training pass keeps the input of each block alone and computes the rest
            again in the backward pass: less memory for a third more time, equal gradients.
        init_cfg: mmengine's initialisation config. Of type ``Pretrained`` it takes every file that
            :func:`load_pretrained` reads, and all tensors must match.

    Raises:
        TypeError: If what must be a number is none.
        ValueError: If a number is out of range, the image size is no multiple of the patch,
            ``arch``, ``ffn``, ``out_type``, ``weight_init`` or an index is unknown, there is no
            final norm for ``norm_outputs`` or ``local_norm``, or the position encoding is missing
            or for other heads or tokens.

    Example:
        DINO, DINOv2 and DINOv3:

        >>> dino = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small", patch_size=16,
        ...     drop_path_rate=0.1)
        >>> dinov2 = dict(
        ...     type="mmdino.VisionTransformer", arch="vit-s", patch_size=14, img_size=518,
        ...     layer_scale_init_value=1e-5, mask_token=True, token_std=1e-6,
        ...     drop_path_rate=0.3, drop_path_uniform=True, drop_path_rows=True)
        >>> dinov3 = dict(
        ...     type="mmdino.VisionTransformer", arch="vit-s", patch_size=16, num_registers=4,
        ...     layer_scale_init_value=1e-5, mask_token=True, token_std=0.02, key_bias=False,
        ...     norm_cfg=dict(type="LN", eps=1e-5), learned_positions=False,
        ...     position_encoding=dict(type="mmdino.RotaryPositions", rescale=2))
    """

    arch_zoo = VIT_ARCHS
    chooses_patches = True
    """The forward pass takes ``patches``, so that what nobody reads is not computed."""

    def __init__(
        self,
        arch: str | dict = "deit-small",
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        out_indices: int | Sequence[int] = -1,
        out_type: Literal["cls_token", "featmap", "raw", "features"] = "cls_token",
        norm_outputs: bool = False,
        final_norm: bool = True,
        pre_norm: bool = False,
        qkv_bias: bool = True,
        key_bias: bool = True,
        ffn: Literal["mlp", "mlp_quick_gelu", "swiglu", "swiglu64"] = "mlp",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        drop_path_uniform: bool = False,
        drop_path_rows: bool = False,
        layer_scale_init_value: float = 0.0,
        norm_cfg: dict = NORM_CFG,
        num_registers: int = 0,
        mask_token: bool = False,
        token_std: float | None = None,
        local_norm: bool = False,
        learned_positions: bool = True,
        pos_embed_offset: float = 0.1,
        pos_embed_antialias: bool = False,
        interpolate_mode: str = "bicubic",
        position_encoding: dict | None = None,
        position_encoding_per_block: bool = False,
        weight_init: Literal["truncated_normal", "beit"] = "truncated_normal",
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, size in {"patch_size": patch_size, "in_channels": in_channels}.items():
            require_number("VisionTransformer", name, size, least=1, whole=True)
        require_number("VisionTransformer", "num_registers", num_registers, least=0, whole=True)
        # A rate of 1 would drop every path and divide by zero.
        for name, rate in {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}.items():
            require_number("VisionTransformer", name, rate, least=0, below=1)
        require_number("VisionTransformer", "layer_scale_init_value", layer_scale_init_value)
        require_number("VisionTransformer", "pos_embed_offset", pos_embed_offset, least=0, below=1)
        if token_std is not None:
            require_number("VisionTransformer", "token_std", token_std, least=0)
        if ffn not in FFN:
            raise ValueError(f"VisionTransformer got ffn={ffn!r}; it must be one of {FFN}.")
        self.arch_settings = _settings(arch)
        self.embed_dims = self.arch_settings["embed_dims"]
        self.num_layers = self.arch_settings["num_layers"]
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        for side in self.img_size:
            require_number("VisionTransformer", "img_size", side, least=1, whole=True)
        _check_size(self.img_size, patch_size)
        if out_type not in OUT_TYPES:
            raise ValueError(
                f"VisionTransformer got out_type={out_type!r}; it must be one of {OUT_TYPES}."
            )
        if weight_init not in WEIGHT_INITS:
            raise ValueError(
                f"VisionTransformer got weight_init={weight_init!r}; it must be one of "
                f"{WEIGHT_INITS}."
            )
        if position_encoding_per_block and not position_encoding:
            raise ValueError(
                "VisionTransformer got position_encoding_per_block=True without a "
                "position_encoding. Set one, such as dict(type='mmdino.RelativePositionBias', ...)."
            )
        for name, wanted in {"norm_outputs": norm_outputs, "local_norm": local_norm}.items():
            if wanted and not final_norm:
                raise ValueError(
                    f"VisionTransformer got {name}=True with final_norm=False, so there is no "
                    "norm for the outputs. Leave out final_norm=False."
                )
        self.out_type = out_type
        self.out_indices = _indices(out_indices, self.num_layers)
        self.norm_outputs = norm_outputs
        self.final_norm = final_norm
        self.token_std = token_std
        self.weight_init = weight_init
        self.pos_embed_offset = pos_embed_offset
        self.pos_embed_antialias = pos_embed_antialias
        self.interpolate_mode = interpolate_mode
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        self.num_extra_tokens = 1 + num_registers

        # The names of mmpretrain's parameters, and their order, which optimiser states go by.
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.patch_resolution = tuple(side // patch_size for side in self.img_size)
        places = math.prod(self.patch_resolution)
        self.pos_embed = (
            nn.Parameter(torch.zeros(1, 1 + places, self.embed_dims)) if learned_positions else None
        )
        self.register_tokens = (
            nn.Parameter(torch.zeros(1, num_registers, self.embed_dims)) if num_registers else None
        )
        self.mask_token = nn.Parameter(torch.zeros(1, self.embed_dims)) if mask_token else None
        self.patch_embed = PatchEmbedding(
            in_channels=in_channels,
            embed_dims=self.embed_dims,
            kernel_size=patch_size,
            stride=patch_size,
            padding=0,
            bias=not pre_norm,
        )
        self.drop_after_pos = nn.Dropout(drop_rate)
        first_rate = drop_path_rate if drop_path_uniform else 0
        rates = np.linspace(first_rate, drop_path_rate, self.num_layers).tolist()
        self.layers = nn.ModuleList(
            TransformerBlock(
                self.embed_dims,
                self.arch_settings["num_heads"],
                self.arch_settings["feedforward_channels"],
                rate,
                norm_cfg,
                qkv_bias,
                drop_rate,
                layer_scale_init_value,
                key_bias,
                ffn,
                drop_path_rows,
            )
            for rate in rates
        )
        self.pre_norm = build_norm_layer(norm_cfg, self.embed_dims) if pre_norm else nn.Identity()
        if final_norm:
            self.ln1 = build_norm_layer(norm_cfg, self.embed_dims)
        self.local_ln1 = build_norm_layer(norm_cfg, self.embed_dims) if local_norm else None
        self.position_encoding = None
        if position_encoding and position_encoding_per_block:
            for layer in self.layers:
                layer.position_encoding = MODELS.build(position_encoding)
        elif position_encoding:
            self.position_encoding = MODELS.build(position_encoding)
        self._check_position_encoding()
        self._register_load_state_dict_pre_hook(self._share_loaded_positions)
        self._register_load_state_dict_pre_hook(self._resize_loaded_positions)
        self._initialise()
        self._freeze()

    def init_weights(self) -> None:
        """Initialises the weights as the authors do, or as ``init_cfg`` says."""
        pretrained = pretrained_cfg(self.init_cfg)
        if pretrained is not None:
            load_pretrained(self, pretrained)
            return
        super().init_weights()
        if not self.init_cfg:
            self._initialise()

    def _initialise(self) -> None:
        # At -2 and 2, absolute, the normal distribution of DINO is not cut at all.
        cut = STD if self.weight_init == "beit" else 2.0
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=STD, a=-cut, b=cut)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for token in (self.pos_embed, self.cls_token):
            if token is not None:
                nn.init.trunc_normal_(token, std=STD, a=-cut, b=cut)
        if self.weight_init == "beit":
            self._initialise_as_beit(cut)
        if self.token_std is not None:
            nn.init.normal_(self.cls_token, std=self.token_std)
        if self.register_tokens is not None:
            std = 1e-6 if self.token_std is None else self.token_std
            nn.init.normal_(self.register_tokens, std=std)

    @torch.no_grad()
    def _initialise_as_beit(self, cut: float) -> None:
        projection = self.patch_embed.projection
        nn.init.trunc_normal_(projection.weight, std=STD, a=-cut, b=cut)
        if projection.bias is not None:
            nn.init.zeros_(projection.bias)
        for number, layer in enumerate(self.layers, start=1):
            layer.attn.proj.weight.div_(math.sqrt(2 * number))
            layer.ffn.last.weight.div_(math.sqrt(2 * number))

    def _check_position_encoding(self) -> None:
        """Checks that a position encoding is for these heads and tokens, as far as it says so."""
        encoding = self.position_encoding or getattr(self.layers[0], "position_encoding", None)
        heads = self.arch_settings["num_heads"]
        for name, own in {
            "head_dims": self.embed_dims // heads,
            "num_heads": heads,
            "num_extra_tokens": self.num_extra_tokens,
        }.items():
            theirs = getattr(encoding, name, own)
            if theirs != own:
                raise ValueError(
                    f"VisionTransformer has {name}={own}, but its position_encoding is for "
                    f"{theirs}. Set position_encoding.{name}={own}."
                )

    def _share_loaded_positions(self, state_dict: dict, prefix: str, *_: Any) -> None:
        """Copies a position encoding that blocks shared to those that have their own."""
        loaded = strip_prefix(state_dict, prefix)
        copied = copy_shared_positions(loaded, dict(self.named_parameters()))
        for name in set(loaded) - set(copied):
            del state_dict[prefix + name]
        for name in set(copied) - set(loaded):
            state_dict[prefix + name] = copied[name]

    def _resize_loaded_positions(self, state_dict: dict, prefix: str, *_: Any) -> None:
        """Resizes position embeddings that are loaded, as the forward pass does for an image."""
        name = f"{prefix}pos_embed"
        loaded = state_dict.get(name)
        if loaded is None or self.pos_embed is None or loaded.shape == self.pos_embed.shape:
            return
        if loaded.dim() != 3 or loaded.shape[2:] != self.pos_embed.shape[2:]:
            return
        places = loaded.shape[1] - 1
        side = math.isqrt(places)
        if side * side != places:
            raise ValueError(
                f"The position embeddings of the file are for {places} patches, which form no "
                f"square, those of the network for a grid of {self.patch_resolution}. Set img_size "
                "to that of the pretraining; the forward pass resizes them for other images."
            )
        state_dict[name] = self.positions_of_grid(loaded, (side, side))

    def positions_of_grid(self, pos_embed: Tensor, grid: Sequence[int]) -> Tensor:
        """Resizes position embeddings (1, 1 + h w, D) of a grid (h, w) to that of this network."""
        return self._positions(pos_embed, grid, self.patch_resolution)

    def _positions(
        self, pos_embed: Tensor, source_grid: Sequence[int], target_grid: Sequence[int]
    ) -> Tensor:
        return interpolate_pos_embed(
            pos_embed,
            source_grid,
            target_grid,
            1,
            self.interpolate_mode,
            self.pos_embed_offset,
            self.pos_embed_antialias,
        )

    def train(self, mode: bool = True) -> VisionTransformer:
        """Sets the mode of this module; frozen parts stay in eval mode."""
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages <= 0:
            return
        frozen = [self.patch_embed, self.drop_after_pos, self.pre_norm]
        frozen += self.layers[: self.frozen_stages]
        if self.frozen_stages >= self.num_layers and self.final_norm:
            frozen += [self.ln1] if self.local_ln1 is None else [self.ln1, self.local_ln1]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)
        for token in (self.cls_token, self.pos_embed, self.register_tokens, self.mask_token):
            if token is not None:
                token.requires_grad_(False)

    def embed(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Returns the tokens (B, N, D) that enter the first block, and the grid of patches.

        Args:
            images: Images (B, C, H, W).
            masks: Patches (B, h * w), bool, that the mask token replaces.

        Raises:
            ValueError: If a side of the images is no multiple of the patch, or there are masks and
                no mask token.
        """
        _check_size(images.shape[-2:], self.patch_embed.projection.stride[0])
        tokens, grid = self.patch_embed(images)
        if masks is not None:
            if self.mask_token is None:
                raise ValueError(
                    "VisionTransformer got masks, but it has no mask token. Set mask_token=True."
                )
            tokens = torch.where(masks.unsqueeze(-1), self.mask_token.to(tokens.dtype), tokens)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        if self.pos_embed is not None:
            tokens = tokens + self._positions(self.pos_embed, self.patch_resolution, grid)
        if self.register_tokens is not None:
            registers = self.register_tokens.expand(len(tokens), -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return self.pre_norm(self.drop_after_pos(tokens)), grid

    def forward(
        self,
        images: Tensor,
        masks: Tensor | None = None,
        local: bool = False,
        patches: Tensor | bool = True,
    ) -> tuple[Tensor | Features, ...]:
        """Maps images (B, C, H, W) to the outputs of the blocks in ``out_indices``.

        Args:
            images: Images (B, C, H, W).
            masks: Patches (B, h * w), bool, that the mask token replaces.
            local: Whether the images are local views. It matters in training with ``local_norm``
                alone: class token and registers then pass the norm of local views.
            patches: Which patches of the last block's output the caller reads beside the class
                token: all, none (False), or those at positions (M,) among the flattened (B, h * w).
                With the latter two the last block leaves out what does not act on the result; what
                there is has the same values and gradients. ``out_type="features"`` has the patches
                (M, D) then, and no registers. Maps and raw tokens are always whole.

        Returns:
            One output of the kind ``out_type`` for each index. That of the last block has passed
            the final norm, the others have with ``norm_outputs``.
        """
        tokens, grid = self.embed(images, masks)
        read_last = self._read_of_last_block(patches, tokens.shape)
        outputs = []
        for index, (layer, positions) in enumerate(self._layers_with_positions(grid)):
            read = read_last if index == self.num_layers - 1 else True
            num_first = len(tokens) if isinstance(read, Tensor) else self.num_extra_tokens
            tokens = self._run_block(layer, tokens, positions, read)
            if index in self.out_indices:
                normed = self.norm_outputs or index == self.num_layers - 1
                output = tokens
                if normed and self.final_norm:
                    output = self._norm(tokens, local, num_first)
                outputs.append(self._format(output, grid, num_first))
        return tuple(outputs)

    def _read_of_last_block(
        self, patches: Tensor | bool, shape: tuple[int, int, int]
    ) -> Tensor | bool:
        """Which tokens (B, N, D) are read of the last block, as its forward pass takes it."""
        if patches is True or self.out_type in ("featmap", "raw"):
            return True
        if patches is False or self.out_type == "cls_token":
            return False
        number, tokens, _ = shape
        num_patches = tokens - self.num_extra_tokens
        images = patches // num_patches
        first = torch.arange(number, device=patches.device) * tokens
        return torch.cat([first, images * self.num_extra_tokens + patches + self.num_extra_tokens])

    def _norm(self, tokens: Tensor, local: bool, num_first: int) -> Tensor:
        """The final norm of tokens (..., N, D), the first of which may have one of their own."""
        if not local or self.local_ln1 is None or not self.training:
            return self.ln1(tokens)
        first, patches = tokens[..., :num_first, :], tokens[..., num_first:, :]
        return torch.cat([self.local_ln1(first), self.ln1(patches)], dim=-2)

    def _layers_with_positions(
        self, grid: tuple[int, int]
    ) -> Iterator[tuple[TransformerBlock, RelativePositions]]:
        """Yields each block with what positions do to its attention."""
        shared = self.position_encoding
        positions = NO_POSITIONS
        for index, layer in enumerate(self.layers):
            own = getattr(layer, "position_encoding", None)
            if own is not None:
                positions = own(grid)
            elif shared is not None and (index == 0 or getattr(shared, "varies", False)):
                positions = shared(grid)
            yield layer, positions

    def _run_block(
        self,
        layer: TransformerBlock,
        tokens: Tensor,
        positions: RelativePositions,
        read: Tensor | bool,
    ) -> Tensor:
        if read is not True and self.training and self.drop_after_pos.p > 0:
            # Dropout of fewer tokens would draw other numbers.
            return read_tokens(self._run_block(layer, tokens, positions, True), read)
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(layer, tokens, positions, read, use_reentrant=False)
        return layer(tokens, positions, read)

    def _format(self, tokens: Tensor, grid: tuple[int, int], num_first: int) -> Tensor | Features:
        if tokens.dim() == 2:
            return Features(tokens[:num_first], None, tokens[num_first:], tuple(grid))
        if self.out_type == "raw":
            return tokens
        if self.out_type == "cls_token":
            return tokens[:, 0]
        patches = tokens[:, self.num_extra_tokens :]
        if self.out_type == "featmap":
            return patches.transpose(1, 2).unflatten(2, grid)
        if tokens.shape[1] == 1:
            return Features(tokens[:, 0], None, None, tuple(grid))
        return Features(tokens[:, 0], tokens[:, 1 : self.num_extra_tokens], patches, tuple(grid))

    def intermediate_tokens(self, images: Tensor, num_blocks: int = 1) -> list[Tensor]:
        """Returns all tokens (B, N, D) after each of the last blocks and the final norm.

        Args:
            images: Images (B, C, H, W).
            num_blocks: Number of last blocks; the first of the list is the earliest.
        """
        tokens, grid = self.embed(images)
        outputs = []
        for layer, positions in self._layers_with_positions(grid):
            tokens = layer(tokens, positions)
            outputs.append(tokens)
        return [self.ln1(tokens) for tokens in outputs[-num_blocks:]]

    def last_attention(self, images: Tensor) -> Tensor:
        """Returns the attention (B, heads, N, N) of the last block, from each token to each.

        Recomputed from queries and keys, since fused attention returns no weights.

        Args:
            images: Images (B, C, H, W).
        """
        query, key, bias, _ = self._last_queries_and_keys(images)
        scores = query @ key.transpose(-2, -1)
        return (scores if bias is None else scores + bias).softmax(-1)

    def class_token_attention(self, images: Tensor) -> Tensor:
        """Returns the attention (B, heads, h, w) of the class token to each patch.

        The class token's row of :meth:`last_attention` without the class token and the registers,
        and without the memory for all the other rows: N * N numbers a head for large images.

        Args:
            images: Images (B, C, h * patch, w * patch).
        """
        query, key, bias, grid = self._last_queries_and_keys(images)
        scores = query[:, :, :1] @ key.transpose(-2, -1)
        row = (scores if bias is None else scores + bias[:, :1]).softmax(-1)
        return row[:, :, 0, self.num_extra_tokens :].unflatten(-1, grid)

    def _last_queries_and_keys(
        self, images: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, int]]:
        """Scaled queries and keys (B, heads, N, width) of the last block, its bias, the grid."""
        tokens, grid = self.embed(images)
        *layers, (last, positions) = self._layers_with_positions(grid)
        for layer, own_positions in layers:
            tokens = layer(tokens, own_positions)
        query, key, _ = last.attn.queries_keys_values(last.ln1(tokens), positions)
        return query * last.attn.head_dims**-0.5, key, positions.bias, grid

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Returns the layer of a parameter and the number of layers, for layer-wise rates.

        Layer 0 holds the embeddings and tokens, 1 to depth the blocks, and depth + 1 the final norm
        and every parameter whose name does not begin with ``prefix``.

        Args:
            param_name: Name of the parameter.
            prefix: What the names of this backbone's parameters begin with.
        """
        num_layers = self.num_layers + 2
        name = param_name.removeprefix(prefix)
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        if name.startswith("layers."):
            return int(name.split(".")[1]) + 1, num_layers
        first = ("cls_token", "pos_embed", "register_tokens", "mask_token", "patch_embed.")
        return (0 if name.startswith(first) else num_layers - 1), num_layers


def _settings(arch: str | dict) -> dict[str, int]:
    if isinstance(arch, str) and arch.lower() in VIT_ARCHS:
        return VIT_ARCHS[arch.lower()]
    needed = {"embed_dims", "num_layers", "num_heads", "feedforward_channels"}
    if isinstance(arch, str) or not needed <= set(arch):
        raise ValueError(
            f"VisionTransformer got arch={arch!r}; known are {sorted(VIT_ARCHS)}, or give a dict "
            f"with {', '.join(sorted(needed))}."
        )
    for name in needed:
        require_number("VisionTransformer", f"arch.{name}", arch[name], least=1, whole=True)
    if arch["embed_dims"] % arch["num_heads"]:
        raise ValueError(
            f"VisionTransformer got {arch['num_heads']} heads for a width of "
            f"{arch['embed_dims']}; arch.embed_dims must be a multiple of arch.num_heads."
        )
    return dict(arch)


def _indices(indices: int | Sequence[int], num_layers: int) -> tuple[int, ...]:
    listed = [indices] if isinstance(indices, int) else list(indices)
    if any(not -num_layers <= index < num_layers for index in listed):
        raise ValueError(
            f"VisionTransformer got out_indices={indices}; it has {num_layers} blocks, so an index "
            f"is {-num_layers} to {num_layers - 1}."
        )
    return tuple(index % num_layers for index in listed)


def _check_size(size: Sequence[int], patch: int) -> None:
    height, width = size
    if patch < 1 or min(size) < patch or height % patch or width % patch:
        raise ValueError(
            f"VisionTransformer got images of {height} x {width} pixels, which do not divide into "
            f"patches of {patch} x {patch}. Set img_size or patch_size, or crop and resize to "
            "multiples of the patch in the pipeline (MultiCropTransform, ResizeEdge); for "
            f"mmsegmentation data_preprocessor.test_cfg.size_divisor={patch} pads images and "
            "crops the result."
        )

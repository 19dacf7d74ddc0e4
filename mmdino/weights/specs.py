"""Configs of backbones, inferred from their tensors and the metadata of the file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from mmpretrain.models import VisionTransformer
from torch import Tensor

from mmdino.utils.config_text import literal_config
from mmdino.utils.rotary import ROTARY_BASE, rotary_base
from mmdino.weights.layouts import clip
from mmdino.weights.layouts.key_bias import has_key_bias

VIT = "mmdino.VisionTransformer"
RESNET = "mmdino.ResNet"
ROTARY = "mmdino.RotaryPositions"
RELATIVE = "mmdino.RelativePositionBias"
OWN_VIT_TYPES = (VIT, "mmdino.DINOVisionTransformer")
"""Our ViT in the configs of checkpoints; the second before version 0.1."""
PLAIN_VITS = ("VisionTransformer", "MAEViT", "MoCoV3ViT")
"""mmpretrain's ViTs that compute what ours does."""
VIT_TYPES = (*OWN_VIT_TYPES, *PLAIN_VITS, *(f"mmpretrain.{name}" for name in PLAIN_VITS))
VIT_ARCHS: dict[str, dict[str, int]] = {
    **VisionTransformer.arch_zoo,
    "vit-s": VisionTransformer.arch_zoo["deit-small"],
    "vit-b": VisionTransformer.arch_zoo["deit-base"],
    "vit-l": VisionTransformer.arch_zoo["large"],
    "vit-g": {
        "embed_dims": 1536,
        "num_layers": 40,
        "num_heads": 24,
        "feedforward_channels": 6144,
    },
}
"""Architectures by name: mmpretrain's, and the sizes of DINOv2."""
STORED_ARCHS = {
    **VIT_ARCHS,
    "mocov3-s": {**VIT_ARCHS["deit-small"], "num_heads": 12},
    "mocov3-small": {**VIT_ARCHS["deit-small"], "num_heads": 12},
}
"""The same, and MoCo v3's, whose ViT-S has heads of 32 channels."""
LAYER_NORMS = ("LN", "LayerNorm", "torch.nn.LayerNorm", "torch.nn.modules.normalization.LayerNorm")


def _is_position_encoding(value: Any) -> bool:
    """Whether a config in a file is None or names one of our encodings, with numbers only."""
    if value is None:
        return True
    types = {name for kind in (ROTARY, RELATIVE) for name in (kind, kind.split(".")[1])}
    if not isinstance(value, dict) or value.get("type") not in types:
        return False
    entries = [entry for name, entry in value.items() if name != "type"]
    numbers = [
        n for entry in entries for n in (entry if isinstance(entry, list | tuple) else [entry])
    ]
    return all(number is None or isinstance(number, Real) for number in numbers)


def _is_relative(encoding: Any) -> bool:
    return isinstance(encoding, dict) and encoding.get("type") in (RELATIVE, RELATIVE.split(".")[1])


VIT_OPTIONS: dict[str, Callable[[Any], bool]] = {
    "qkv_bias": lambda value: isinstance(value, bool),
    "norm_cfg": lambda value: (
        isinstance(value, dict)
        and value.get("type") in LAYER_NORMS
        and all(isinstance(entry, int | float) for name, entry in value.items() if name != "type")
    ),
    "final_norm": lambda value: isinstance(value, bool),
    "interpolate_mode": lambda value: value in ("bicubic", "bilinear", "nearest"),
    "layer_scale_init_value": lambda value: isinstance(value, int | float),
    "pre_norm": lambda value: isinstance(value, bool),
    "pos_embed_offset": lambda value: isinstance(value, int | float),
    "pos_embed_antialias": lambda value: isinstance(value, bool),
    "key_bias": lambda value: isinstance(value, bool),
    "learned_positions": lambda value: isinstance(value, bool),
    "position_encoding": _is_position_encoding,
}
"""Options that change what a ViT computes but not its tensors, with what a file may set."""
LAYER_OPTIONS = {"act_cfg", "ffn_type", "drop_rate", "attn_drop_rate", "drop_path_rate", "init_cfg"}
"""What ``layer_cfgs`` of mmpretrain's ViT may have: activation, what tensors show, and training."""
HEAD_WIDTH = 64
"""Width of a head in all published networks of the authors."""
NORM_EPS = 1e-6
"""Layer-norm eps of the authors' networks, and of mmpretrain's and timm's ViT."""
POS_EMBED_OFFSET = 0.1
"""Offset of the authors' networks in the resizing of position embeddings."""
DINOV3_EPS = 1e-5
"""Layer-norm eps of the published networks of DINOv3."""
LAYER_SCALE = 1e-5
"""Start of LayerScale in a network whose file does not say it."""
PERIODS = "position_encoding.periods"
BLOCK_PERIODS = f"layers.0.{PERIODS}"
"""The periods of the first block, where each has its own."""
PRE_NORM = "pre_norm.weight"
TABLE = "position_encoding.table"
"""The table of relative positions that blocks share; else each has ``layers.N.`` before it."""
BLOCK_TABLE = f"layers.0.{TABLE}"
DISTILLED = ("dist_token", "embeddings.distillation_token")
"""The second class token, which has a position too, of networks that were distilled as DeiT."""
GATED = "layers.0.ffn.w3.weight"
QUICK_GELU = "mlp_quick_gelu"
ACTIVATIONS = {"gelu": "mlp", "quick_gelu": QUICK_GELU}
"""Feed-forward networks without gates by the ``hidden_act`` of Hugging Face."""
TOKEN_SIZES = 14
"""Patches on a side of the image size of a network without learned positions, 224 pixels for 16."""
MAX_GROWTH = 8
"""Numbers of a network for each in the file that it is inferred from."""
RESNET_DEPTHS = {
    ("BasicBlock", (2, 2, 2, 2)): 18,
    ("BasicBlock", (3, 4, 6, 3)): 34,
    ("Bottleneck", (3, 4, 6, 3)): 50,
    ("Bottleneck", (3, 4, 23, 3)): 101,
    ("Bottleneck", (3, 8, 36, 3)): 152,
}


def vit_config(
    state_dict: Mapping[str, Tensor],
    stored: Mapping[str, Any] | None = None,
    num_heads: int | None = None,
) -> tuple[dict[str, Any], str]:
    """Returns the config of a ``VisionTransformer`` with the given tensors.

    Their shapes determine everything but the number of heads, and the sides of a non-square grid of
    patches.

    Args:
        state_dict: Tensors in mmpretrain's names.
        stored: Backbone config in the file, if any.
        num_heads: Number of heads, if known.

    Returns:
        The config, and a description of the source of the number of heads.

    Raises:
        ValueError: If a required tensor is missing, the number of heads or the grid cannot be
            inferred, or ``num_heads`` contradicts the file.
    """
    stored = stored or {}
    table = next((state_dict[name] for name in (TABLE, BLOCK_TABLE) if name in state_dict), None)
    encoding = stored.get("position_encoding")
    rotary = _periods(state_dict) is not None or (bool(encoding) and not _is_relative(encoding))
    gated = GATED in state_dict
    last = GATED if gated else "layers.0.ffn.layers.1.weight"
    dims = {"cls_token": 3, "patch_embed.projection.weight": 4, "layers.0.ln1.weight": 1, last: 2}
    if not rotary and table is None:
        dims["pos_embed"] = 3
    optional = {"pos_embed": 3, "register_tokens": 3, "mask_token": 2, PERIODS: 1, BLOCK_PERIODS: 1}
    missing = [name for name in dims if name not in state_dict]
    if missing:
        raise ValueError(
            f"This looks like a ViT, but it lacks {', '.join(missing)}, which the config is "
            f"inferred from. The file has {len(state_dict)} tensors: {_first_names(state_dict)}."
        )
    dims |= {name: number for name, number in optional.items() if name in state_dict}
    shapes = {name: tuple(state_dict[name].shape) for name in dims}
    if any(len(shapes[name]) != number for name, number in dims.items()):
        raise ValueError(f"This looks like a ViT, but its tensors have the shapes {shapes}.")
    width, in_channels, rows, columns = state_dict["patch_embed.projection.weight"].shape
    if rows != columns:
        raise ValueError(f"The patches are {rows} x {columns} pixels; they must be square.")
    depth, hidden = _count(state_dict, "layers."), shapes[last][1]
    _require_size(state_dict, depth * width * (4 * width + (3 if gated else 2) * hidden))
    known_heads = _known_heads(width, state_dict, stored)
    if table is not None:
        known_heads = _require_table(table, known_heads)
    heads, source = _num_heads(width, known_heads, num_heads)
    distilled = [name for name in DISTILLED if name in state_dict]
    config = {
        "type": VIT,
        "arch": {
            "embed_dims": width,
            "num_layers": depth,
            "num_heads": heads,
            "feedforward_channels": _mlp_width(hidden) if gated else hidden,
        },
        "img_size": _img_size(shapes.get("pos_embed"), rows, stored.get("img_size"), distilled),
        "patch_size": rows,
        "in_channels": in_channels,
        **_stored_options(stored),
    }
    if stored.get("type", VIT) not in OWN_VIT_TYPES:
        # mmpretrain's ViT resizes position embeddings without the authors' offset.
        config.setdefault("pos_embed_offset", 0.0)
    if "layers.0.attn.qkv.bias" not in state_dict:
        config["qkv_bias"] = False
    if "register_tokens" in state_dict:
        config["num_registers"] = shapes["register_tokens"][1]
    if "mask_token" in state_dict:
        config["mask_token"] = True
    if "local_ln1.weight" in state_dict:
        config["local_norm"] = True
    if "layers.0.attn.gamma1.weight" in state_dict:
        config["layer_scale_init_value"] = config.get("layer_scale_init_value") or LAYER_SCALE
    if gated:
        config["ffn"] = "swiglu"
    elif stored.get("ffn") == QUICK_GELU or _has_quick_gelu(stored):
        config["ffn"] = QUICK_GELU
    if rotary:
        config["learned_positions"] = "pos_embed" in state_dict
        if BLOCK_PERIODS in state_dict:
            config["position_encoding_per_block"] = True
        config["position_encoding"] = _rotary(width // heads, state_dict, stored)
    if table is not None:
        config["learned_positions"] = "pos_embed" in state_dict
        config["position_encoding_per_block"] = BLOCK_TABLE in state_dict
        config["position_encoding"] = _relative(table, config, encoding)
    without_bias = config.get("qkv_bias", True) and not has_key_bias(state_dict)
    if without_bias and (rotary or table is not None):
        config.setdefault("key_bias", False)
    return config, source


def released_options(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns what the networks of other projects have and no tensor shows.

    These are CLIP, and DINOv2 and DINOv3 in the authors' and timm's files. A file that says it
    itself is to be believed instead.

    Args:
        state_dict: Tensors in mmpretrain's names.
    """
    if PRE_NORM in state_dict:
        return clip.released_options(len(state_dict[PRE_NORM]))
    if "register_tokens" not in state_dict:
        return {}
    if "pos_embed" in state_dict:
        return {"pos_embed_offset": 0.0, "pos_embed_antialias": True}
    return {"norm_cfg": {"type": "LN", "eps": DINOV3_EPS}}


def resnet_config(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the config of a ``ResNet`` with the given tensors, in torchvision's names.

    Raises:
        ValueError: If there is no ResNet of a supported depth with them.
    """
    block = "Bottleneck" if "layer1.0.conv3.weight" in state_dict else "BasicBlock"
    blocks = tuple(_count(state_dict, f"layer{stage}.") for stage in range(1, 5))
    stem = state_dict.get("conv1.weight")
    if (block, blocks) not in RESNET_DEPTHS or stem is None or stem.shape[-1] != 7:
        raise ValueError(
            f"This looks like a ResNet of {block}s with {blocks} blocks per stage and a first "
            f"convolution of shape {None if stem is None else tuple(stem.shape)}; supported are "
            f"depths {sorted(RESNET_DEPTHS.values())} with a 7 x 7 first convolution."
        )
    base = len(state_dict["layer1.0.conv1.weight"])
    # The last stage has most of the numbers.
    _require_size(state_dict, blocks[-1] * (8 * base) ** 2)
    return {
        "type": RESNET,
        "depth": RESNET_DEPTHS[block, blocks],
        "in_channels": stem.shape[1],
        "stem_channels": stem.shape[0],
        "base_channels": base,
        "out_indices": (3,),
    }


def norm_eps(config: Mapping[str, Any]) -> float:
    """Returns the layer-norm eps of a ViT config."""
    return config.get("norm_cfg", {}).get("eps", NORM_EPS)


def is_gated(config: Mapping[str, Any]) -> bool:
    """Returns whether the feed-forward networks of a ViT config have gates."""
    return config.get("ffn", "mlp").startswith("swiglu")


def hidden_act(config: Mapping[str, Any]) -> str:
    """Returns the ``hidden_act`` in Hugging Face's words of a ViT config without gates."""
    return "quick_gelu" if config.get("ffn") == QUICK_GELU else "gelu"


def config_in_text(text: str) -> dict[str, Any] | None:
    """Finds the backbone config in the text of a config, without executing it.

    Args:
        text: ``meta["cfg"]`` of an mmengine checkpoint: assignments of literals and ``dict(...)``
            calls.

    Returns:
        The first dict inside ``model`` whose type is one of ``VIT_TYPES``, or None. Its
        ``backbone`` comes before other networks, such as a frozen teacher.

    Raises:
        ValueError: If the text is too long to be a config.
    """
    model = literal_config(text).get("model")
    return _find_vit([model.get("backbone"), model] if isinstance(model, Mapping) else model)


def config_in_meta(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the backbone config in ``meta`` of a checkpoint or an extracted file, or None."""
    if "backbone" in meta:
        return json_dict(meta["backbone"])
    if isinstance(meta.get("cfg"), str):
        return config_in_text(meta["cfg"])
    return None


def json_dict(text: Any) -> dict[str, Any]:
    """Returns the dict that a file has as JSON.

    Raises:
        ValueError: If it is something else.
    """
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"The backbone's config in the file is {repr(text)[:80]}: expected a JSON object. The "
            "file is damaged; convert or extract it again."
        )
    return found


def _find_vit(value: Any) -> dict[str, Any] | None:
    if isinstance(value, dict):
        if value.get("type") in VIT_TYPES:
            return value
        value = list(value.values())
    for element in value if isinstance(value, list) else []:
        found = _find_vit(element)
        if found is not None:
            return found
    return None


def _stored_options(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options in a file's config; a config can name any class or function to call."""
    options = {name: stored[name] for name in VIT_OPTIONS if name in stored}
    for name, value in options.items():
        if not VIT_OPTIONS[name](value):
            raise ValueError(
                f"The backbone's config in the file has {name}={repr(value)[:80]}, which no ViT of "
                "this project has. The file is damaged or malicious; do not use it."
            )
    return options


def _has_quick_gelu(stored: Mapping[str, Any]) -> bool:
    """Whether the ``layer_cfgs`` of mmpretrain's ViT are of blocks with CLIP's GELU.

    Raises:
        ValueError: If the blocks differ, or from ours.
    """
    layers = stored.get("layer_cfgs") or {}
    found = set()
    for layer in layers if isinstance(layers, list) else [layers]:
        known = isinstance(layer, Mapping) and set(layer) <= LAYER_OPTIONS
        act = layer.get("act_cfg", {"type": "GELU"}) if known else None
        plain = isinstance(act, Mapping) and set(act) == {"type"}
        found.add(str(act["type"]).removeprefix("mmpretrain.") if plain else None)
    if found not in ({"GELU"}, {"QuickGELU"}):
        raise ValueError(
            f"The backbone's config in the file has layer_cfgs={repr(layers)[:80]}, and the ViT of "
            "this project has blocks with GELU or QuickGELU, all the same. Evaluate the run with "
            "mmdino test and its config."
        )
    return found == {"QuickGELU"}


def _stored_heads(stored: Mapping[str, Any]) -> int | None:
    arch = stored.get("arch")
    if isinstance(arch, str):
        arch = STORED_ARCHS.get(arch.lower())
    heads = arch.get("num_heads") if isinstance(arch, Mapping) else None
    return heads if isinstance(heads, int) else None


def _known_heads(
    width: int, state_dict: Mapping[str, Tensor], stored: Mapping[str, Any]
) -> int | None:
    """The number of heads that the file says, by its config or by the periods of its rotation."""
    heads = _stored_heads(stored)
    periods = _periods(state_dict)
    if periods is None:
        return heads
    head_width = 4 * max(1, len(periods))
    if width % head_width or heads not in (None, width // head_width):
        raise ValueError(
            f"The ViT of width {width} has {heads or 'an unknown number of'} heads, but its rotary "
            f"positions are for heads of {head_width} channels. The file is damaged."
        )
    return width // head_width


def _periods(state_dict: Mapping[str, Tensor]) -> Tensor | None:
    """Returns the periods of rotary positions, those of the first block if each has its own."""
    return state_dict.get(PERIODS, state_dict.get(BLOCK_PERIODS))


def _rotary(
    head_dims: int, state_dict: Mapping[str, Tensor], stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the config of the rotary positions."""
    stored = stored.get("position_encoding") or {}
    base = stored.get("base", ROTARY_BASE)
    periods = _periods(state_dict)
    if periods is not None:
        base = rotary_base(periods)
    return {**stored, "type": ROTARY, "head_dims": head_dims, "base": base}


def _require_table(table: Tensor, heads: int | None) -> int:
    """Returns the heads that a table of relative positions is for."""
    if table.dim() != 2 or not table.shape[1] or heads not in (None, table.shape[1]):
        raise ValueError(
            f"The ViT has {heads or 'an unknown number of'} heads according to the file, but a "
            f"table of relative positions of shape {tuple(table.shape)}, which has a column for "
            "each head. The file is damaged."
        )
    return table.shape[1]


def _relative(table: Tensor, config: Mapping[str, Any], stored: Any) -> dict[str, Any]:
    """Returns the config of the table of relative positions."""
    stored = stored if _is_relative(stored) else {}
    extra = 1 + config.get("num_registers", 0)
    size = config["img_size"]
    of_image = [
        side // config["patch_size"] for side in (size if isinstance(size, list) else [size])
    ]
    side = (math.isqrt(max(len(table) - 3, 1)) + 1) // 2
    for grid in (stored.get("grid"), of_image, [side]):
        sides = list(grid) if isinstance(grid, list | tuple) else [grid]
        known = all(isinstance(number, int) for number in sides) and len(sides) in (1, 2)
        if known and (2 * sides[0] - 1) * (2 * sides[-1] - 1) + 3 == len(table):
            return {
                "type": RELATIVE,
                "num_heads": table.shape[1],
                "grid": [sides[0], sides[-1]],
                "num_extra_tokens": extra,
            }
    raise ValueError(
        f"The table of relative positions has {len(table)} rows, which are those of no square grid "
        "of patches, and the file does not contain the grid. Use the checkpoint of the training "
        "run."
    )


def _mlp_width(width: int) -> int:
    """Returns the width between two layers that gives a SwiGLU of the given width."""
    if width % 8:
        raise ValueError(
            f"The gates of the feed-forward network are {width} wide; supported are multiples of "
            "8, as in the published networks."
        )
    return width * 3 // 2


def _num_heads(width: int, stored: int | None, given: int | None) -> tuple[int, str]:
    if given is not None and stored is not None and given != stored:
        raise ValueError(
            f"The ViT has {stored} heads according to the file, but num_heads={given} was given. "
            "Omit it: with another number of heads the same tensors are another network."
        )
    if given is not None:
        heads, source = given, "as given"
    elif stored is not None:
        heads, source = stored, "from the file"
    elif width % HEAD_WIDTH == 0:
        heads, source = width // HEAD_WIDTH, f"assumed: {HEAD_WIDTH} channels per head"
    else:
        raise ValueError(
            f"The file does not contain the number of heads, and the width {width} is not a "
            f"multiple of {HEAD_WIDTH}, the width of a head in the published networks. Set "
            "num_heads (--num-heads)."
        )
    if heads < 1 or width % heads:
        raise ValueError(f"num_heads={heads} does not divide the ViT's width {width}.")
    return heads, source


def _img_size(
    pos_embed: tuple[int, ...] | None, patch_size: int, stored: Any, distilled: Sequence[str] = ()
) -> int | list[int]:
    num_patches = TOKEN_SIZES**2 if pos_embed is None else pos_embed[1] - 1
    if stored is not None:
        sides = list(stored) if isinstance(stored, list | tuple) else [stored, stored]
        if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
            raise ValueError(f"The config in the file has img_size={repr(stored)[:80]}.")
        grid = [side // patch_size for side in sides]
        if pos_embed is None and min(grid) > 0:
            sides = [side * patch_size for side in grid]
            num_patches = math.prod(grid)
        if math.prod(grid) == num_patches:
            return sides[0] if sides[0] == sides[1] else sides
    side = math.isqrt(num_patches)
    if side * side != num_patches:
        if distilled:
            raise ValueError(
                f"The network was distilled with a token of its own, {distilled[0]}, which the ViT "
                "of mmdino does not have. Use the network without distillation."
            )
        raise ValueError(
            f"The position embeddings are of {num_patches} patches, which is not a square number, "
            "and the file does not contain the image size. Use the checkpoint of the training run."
        )
    return side * patch_size


def _require_size(state_dict: Mapping[str, Tensor], needed: int) -> None:
    """Checks that the shapes of a few tensors do not ask for a network far beyond the file."""
    found = sum(tensor.numel() for tensor in state_dict.values())
    if needed > MAX_GROWTH * found:
        raise ValueError(
            f"The shapes of the tensors are those of a network with {needed} numbers, but the file "
            f"has {found}. Use the checkpoint of the whole network."
        )


def _count(state_dict: Mapping[str, Tensor], prefix: str) -> int:
    """Returns the number of modules in the list at ``prefix``."""
    found = {
        name.removeprefix(prefix).split(".")[0] for name in state_dict if name.startswith(prefix)
    }
    number = len(found)
    if found != {str(index) for index in range(number)}:
        raise ValueError(
            f"The modules {prefix}* of the file are not numbered from 0 on: {sorted(found)[:8]}. "
            "Use the checkpoint of the whole network."
        )
    return number


def _first_names(tensors: Mapping[str, Any]) -> str:
    shown = list(tensors)[:5]
    return ", ".join(shown) + (", ..." if len(tensors) > len(shown) else "")

"""Checks that converted weights give equal features in mmdino and in other projects' code."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from converters.authors_forward import head_logits, quick_gelu, vit_feature
from converters.conversion import (
    FullWeights,
    convert_backbone,
    huggingface_layout_for,
    write_huggingface_folder,
)
from mmdino.evaluation.features import feature_of
from mmdino.utils.rotary import rotary_periods
from mmdino.utils.swiglu import swiglu_width
from mmdino.weights.layouts.authors_full import (
    HEADS_OF_DINOV2,
    authors_checkpoint,
    authors_networks,
    dino_state_dict,
    has_dinov2_heads,
)
from mmdino.weights.layouts.renaming import strip_prefix
from mmdino.weights.matching import compare
from mmdino.weights.networks import BackboneWeights, build_backbone
from mmdino.weights.specs import (
    DINOV3_EPS,
    NORM_EPS,
    PERIODS,
    QUICK_GELU,
    RELATIVE,
    RESNET,
    is_gated,
    norm_eps,
)

TOLERANCE = 1e-5


def check_backbone(weights: BackboneWeights, project: str, tensors: Mapping[str, Tensor]) -> float:
    """Compares the features of a converted backbone with those of the file it comes from.

    Args:
        weights: Result of :func:`backbone_weights`.
        project: Project whose names the converted tensors have.
        tensors: The converted tensors.

    Returns:
        The largest difference, on a random input, of mmdino's features from those of the source
        project and of the target project; if both are mmdino, from those of the authors' network.

    Raises:
        ValueError: If the difference is above ``TOLERANCE``, or the network is one that no other
            project's code computes here.
        ModuleNotFoundError: If a project's package is not installed.
    """
    encoding = weights.config.get("position_encoding") or {}
    if weights.config.get("pre_norm") or encoding.get("type") == RELATIVE:
        raise ValueError(
            "--check has no code for networks of CLIP or with a table of relative positions. Leave "
            "it out; the tests compare such networks."
        )
    images = random_images(weights.config)
    sides = {weights.project: weights.source_tensors, project: tensors}
    sides.pop("mmdino", None)
    differences = [
        _difference(
            features_by("mmdino", weights.config, _as_run_by(name, weights), images),
            features_by(name, weights.config, side, images),
        )
        for name, side in sides.items()
    ]
    if not differences:
        # From mmdino to mmdino, compare with the plain functions.
        features = features_by("mmdino", weights.config, weights.state_dict, images)
        differences = [_difference(features, _plain_features(weights, images))]
    return _require_small(differences)


def check_full(weights: FullWeights) -> float:
    """Compares features and logits of both networks, and the centre, with the authors'.

    Args:
        weights: Result of :func:`full_weights`.

    Returns:
        The largest difference, over features and logits of a random input and over the centres,
        between mmdino's networks and the authors', which get the source file or, for a source in
        mmdino's names, the converted tensors.

    Raises:
        ValueError: If the difference is above ``TOLERANCE``.
        ModuleNotFoundError: If the backbone is a ResNet and torchvision is not installed.
    """
    ours = weights.state_dict
    theirs = weights.source or authors_checkpoint(ours, weights.epoch)
    config = weights.config["backbone"]
    images = random_images(config)
    networks = authors_networks(theirs)
    assert networks is not None, "full_weights reads full files only"
    names = HEADS_OF_DINOV2 if has_dinov2_heads(networks["teacher"]) else {"head.": "head."}
    back = dino_state_dict(theirs)
    centers = [name for name in ours if name.endswith("_loss.center")]
    differences = [_difference(ours[name], back[name]) for name in centers]
    for network, prefix in (("student", ""), ("teacher", "teacher.")):
        tensors = networks[network]
        our_features = features_by(
            "mmdino", config, strip_prefix(ours, f"{prefix}backbone."), images
        )
        their_features = features_by(
            "authors", config, strip_prefix(tensors, "backbone."), images, norm_eps(config)
        )
        differences.append(_difference(our_features, their_features))
        for name, their_name in names.items():
            our_head = strip_prefix(ours, f"{prefix}{name}")
            if not our_head:
                continue
            head = MODELS.build(dict(weights.config[name.removesuffix(".")])).double().eval()
            head.load_state_dict(our_head)
            with torch.no_grad():
                our_logits = head(our_features)
                their_logits = head_logits(
                    _double(strip_prefix(tensors, their_name)), their_features
                )
            differences.append(_difference(our_logits, their_logits))
    return _require_small(differences)


def random_images(config: Mapping[str, Any], seed: int = 0) -> Tensor:
    """Returns two images of noise (2, C, H, W) in float64, at the backbone's own image size.

    At other sizes the projects resize position embeddings differently.

    Args:
        config: Config of a backbone.
        seed: Seed of the noise.
    """
    size = config.get("img_size", 64)
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    channels = config.get("in_channels", 3)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)


@torch.no_grad()
def features_by(
    project: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    images: Tensor,
    authors_eps: float | None = None,
) -> Tensor:
    """Computes features in float64 with the code of the project whose names the tensors have.

    Args:
        project: ``"mmdino"``, ``"authors"`` (torchvision for a ResNet), ``"timm"`` or
            ``"huggingface"``.
        config: Config of the backbone.
        tensors: Tensors in the project's names.
        images: Images (B, C, H, W) in float64.
        authors_eps: Epsilon of the layer norms of the authors' ViT; by default that of their
            published networks.

    Returns:
        Features (B, D).

    Raises:
        ValueError: If the tensors do not fit the project's network.
        ModuleNotFoundError: If the project's package is not installed.
    """
    if project == "mmdino":
        return feature_of(build_backbone(config, tensors).double(), images)
    if project == "authors" and config["type"] != RESNET:
        grid = [side // config["patch_size"] for side in images.shape[-2:]]
        heads = config["arch"]["num_heads"]
        if authors_eps is None:
            authors_eps = DINOV3_EPS if "storage_tokens" in tensors else NORM_EPS
        activation = quick_gelu if config.get("ffn") == QUICK_GELU else functional.gelu
        return vit_feature(_double(tensors), images, heads, grid, authors_eps, activation)
    if project == "huggingface":
        model = _huggingface_model(config, tensors).double().eval()
        return model(images).last_hidden_state[:, 0]
    network = _resnet(project, config) if config["type"] == RESNET else _timm_vit(config)
    match = compare(tensors, network.state_dict())
    if not match.complete or match.unexpected:
        raise ValueError(f"The tensors do not fit the network of {project}: {match}.")
    network.load_state_dict(dict(tensors))
    return network.double().eval()(images)


def package(name: str) -> ModuleType:
    """Imports an optional package.

    Raises:
        ModuleNotFoundError: If it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} is required here but not installed: pip install {name}.",
            name=name,
        ) from error


def _plain_features(weights: BackboneWeights, images: Tensor) -> Tensor:
    # The names do not depend on the activation, which the authors' files cannot say.
    named = weights._replace(config={**weights.config, "ffn": "mlp"})
    tensors = convert_backbone(named, "authors")
    return features_by("authors", weights.config, tensors, images, norm_eps(weights.config))


def _as_run_by(project: str, weights: BackboneWeights) -> dict[str, Tensor]:
    """The tensors of mmdino with the periods that timm and Hugging Face compute.

    They do not take those of a file, which may be rounded.
    """
    rotary = weights.config.get("position_encoding")
    if rotary is None or project not in ("timm", "huggingface"):
        return weights.state_dict
    periods = rotary_periods(rotary["head_dims"], rotary["base"])
    return {
        name: periods if name.endswith(PERIODS) else tensor
        for name, tensor in weights.state_dict.items()
    }


def _huggingface_model(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Loads the written folder as a user would."""
    transformers = package("transformers")
    transformers.utils.logging.disable_progress_bar()
    with TemporaryDirectory() as folder:
        write_huggingface_folder(Path(folder), tensors, config)
        name = huggingface_layout_for(config).huggingface_config(config)["architectures"][0]
        options = {"add_pooling_layer": False} if name == "ViTModel" else {}
        # Tensors of other shapes are in the report then, where transformers names none of them.
        model, report = getattr(transformers, name).from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    wrong = {name: sorted(map(str, found)) for name, found in report.items() if found}
    if wrong:
        raise ValueError(
            f"The check failed, nothing was written: {name}.from_pretrained does not load all "
            f"tensors: {wrong}. The file may not say all options of its network: convert the "
            "checkpoint of the run, which has them, if there is one."
        )
    return model


def _resnet(project: str, config: Mapping[str, Any]) -> nn.Module:
    name = f"resnet{config['depth']}"
    if project == "timm":
        return package("timm").create_model(name, pretrained=False, num_classes=0)
    network = getattr(package("torchvision").models, name)()
    network.fc = nn.Identity()
    return network


def _timm_vit(config: Mapping[str, Any]) -> nn.Module:
    timm = package("timm")
    arch, size = config["arch"], config["img_size"]
    gated = is_gated(config)
    hidden = arch["feedforward_channels"]
    width = swiglu_width(hidden) if gated else hidden
    common = {
        "img_size": size if isinstance(size, int) else tuple(size),
        "patch_size": config["patch_size"],
        "in_chans": config["in_channels"],
        "num_classes": 0,
        "embed_dim": arch["embed_dims"],
        "depth": arch["num_layers"],
        "num_heads": arch["num_heads"],
        "qkv_bias": config.get("qkv_bias", True),
        "init_values": config.get("layer_scale_init_value") or None,
        "global_pool": "token",
    }
    if config.get("position_encoding"):
        return timm.models.eva.Eva(
            **common,
            mlp_ratio=(width + 0.5) / arch["embed_dims"],
            swiglu_mlp=gated,
            swiglu_align_to=8 if gated else 0,
            num_reg_tokens=config.get("num_registers", 0),
            use_abs_pos_emb=False,
            use_rot_pos_emb=True,
            rope_type="dinov3",
            rope_temperature=config["position_encoding"]["base"],
            rope_rotate_half=True,
            use_fc_norm=False,
            norm_layer=partial(nn.LayerNorm, eps=DINOV3_EPS),
        )
    packed = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU} if gated else {}
    registers = config.get("num_registers", 0)
    return timm.models.vision_transformer.VisionTransformer(
        **common,
        **packed,
        # int() of the product must be the width.
        mlp_ratio=((2 if gated else 1) * width + 0.5) / arch["embed_dims"],
        reg_tokens=registers,
        no_embed_class=registers > 0,
    )


def _double(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _difference(first: Tensor, second: Tensor) -> float:
    if first.shape != second.shape:
        raise ValueError(f"Cannot compare shapes {tuple(first.shape)} and {tuple(second.shape)}.")
    return (first.double() - second.double()).abs().max().item()


def _require_small(differences: Iterable[float]) -> float:
    largest = max(differences)
    # Not ">", so that NaN fails too.
    if not largest <= TOLERANCE:
        raise ValueError(
            f"The check failed, nothing was written: the largest difference is {largest:.3g}, "
            f"allowed is {TOLERANCE:g}. The network computes something else than the names of its "
            "tensors imply. Check the number of heads and the epsilon of the layer norms."
        )
    return largest

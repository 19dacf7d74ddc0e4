"""The same input, the same features: each project's own code against mmdino's."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from converters.authors_forward import head_logits, vit_feature
from converters.conversion import (
    FullWeights,
    convert_backbone,
    full_checkpoint,
    write_huggingface_folder,
)
from mmdino.evaluation.features import feature_of
from mmdino.weights.layouts.authors_full import UNUSED
from mmdino.weights.layouts.renaming import strip_prefix
from mmdino.weights.matching import compare
from mmdino.weights.networks import BackboneWeights, build_backbone
from mmdino.weights.specs import NORM_EPS, RESNET, norm_eps

TOLERANCE = 1e-5


def check_backbone(weights: BackboneWeights, project: str, tensors: Mapping[str, Tensor]) -> float:
    """Compares the features of a converted backbone with those of the file it comes from.

    Args:
        weights: What :func:`backbone_weights` returns.
        project: Whose names the converted tensors have.
        tensors: The converted tensors.

    Returns:
        The largest difference of mmdino's features of a random input from those of the project that
        the file is in the names of, and those of the project that it is converted to; where both
        are mmdino, from those of the authors' network.

    Raises:
        ValueError: If it is above ``TOLERANCE``.
        ModuleNotFoundError: If a project's package is not installed.
    """
    images = random_images(weights.config)
    features = features_by("mmdino", weights.config, weights.state_dict, images)
    sides = {weights.project: weights.source_tensors, project: tensors}
    others = [
        features_by(name, weights.config, side, images)
        for name, side in sides.items()
        if name != "mmdino"
    ]
    # From mmdino to mmdino the plain functions are the second opinion.
    others = others or [_plain_features(weights, images)]
    return _require_small(_difference(features, other) for other in others)


def check_full(weights: FullWeights) -> float:
    """Compares features and logits of both networks, and the centre, with the authors' side.

    Args:
        weights: What :func:`full_weights` returns.

    Returns:
        The largest difference, over features and logits of a random input and over the centre,
        between mmdino's networks and the authors' on the file as it was, or as it would be written
        for them.

    Raises:
        ValueError: If it is above ``TOLERANCE``.
        ModuleNotFoundError: If it is a ResNet and torchvision is not installed.
    """
    ours = weights.state_dict
    theirs = weights.source or full_checkpoint(weights, "authors")
    config = weights.config["backbone"]
    images = random_images(config)
    head = MODELS.build(dict(weights.config["head"])).double().eval()
    differences = [_difference(ours["dino_loss.center"], theirs["dino_loss"]["center"])]
    for name, prefix in (("student", ""), ("teacher", "teacher.")):
        network = {key.removeprefix("module."): value for key, value in theirs[name].items()}
        used = {key: value for key, value in network.items() if not key.startswith(UNUSED)}
        our_features = features_by(
            "mmdino", config, strip_prefix(ours, f"{prefix}backbone."), images
        )
        their_features = features_by("authors", config, strip_prefix(used, "backbone."), images)
        head.load_state_dict(strip_prefix(ours, f"{prefix}head."))
        with torch.no_grad():
            our_logits = head(our_features)
            their_logits = head_logits(_double(strip_prefix(used, "head.")), their_features)
        differences.append(_difference(our_features, their_features))
        differences.append(_difference(our_logits, their_logits))
    return _require_small(differences)


def random_images(config: Mapping[str, Any], seed: int = 0) -> Tensor:
    """Returns two images of noise (2, C, H, W) in float64, of the size a backbone is made for.

    At another size the projects resize position embeddings differently.

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
    authors_eps: float = NORM_EPS,
) -> Tensor:
    """Computes features from tensors in a project's names with that project's code, in float64.

    Args:
        project: ``"mmdino"``, ``"authors"`` (torchvision for a ResNet), ``"timm"`` or
            ``"huggingface"``.
        config: Config of the backbone.
        tensors: Tensors in the project's names.
        images: Images (B, C, H, W) in float64.
        authors_eps: Of the layer norms of the authors' ViT.

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
        return vit_feature(_double(tensors), images, heads, grid, authors_eps)
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
    """Imports a package that not every installation has.

    Raises:
        ModuleNotFoundError: If it is not there, with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} is needed for this and not installed: pip install {name}.",
            name=name,
        ) from error


def _plain_features(weights: BackboneWeights, images: Tensor) -> Tensor:
    tensors = convert_backbone(weights, "authors")
    return features_by("authors", weights.config, tensors, images, norm_eps(weights.config))


def _huggingface_model(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """What a user gets who loads the folder that is written."""
    transformers = package("transformers")
    transformers.utils.logging.disable_progress_bar()
    with TemporaryDirectory() as folder:
        write_huggingface_folder(Path(folder), tensors, config)
        model, report = transformers.ViTModel.from_pretrained(
            folder, add_pooling_layer=False, output_loading_info=True
        )
    wrong = {name: sorted(map(str, found)) for name, found in report.items() if found}
    if wrong:
        raise ValueError(f"ViTModel.from_pretrained does not take all tensors: {wrong}.")
    return model


def _resnet(project: str, config: Mapping[str, Any]) -> nn.Module:
    name = f"resnet{config['depth']}"
    if project == "timm":
        return package("timm").create_model(name, pretrained=False, num_classes=0)
    network = getattr(package("torchvision").models, name)()
    network.fc = nn.Identity()
    return network


def _timm_vit(config: Mapping[str, Any]) -> nn.Module:
    arch, size = config["arch"], config["img_size"]
    return package("timm").models.vision_transformer.VisionTransformer(
        img_size=size if isinstance(size, int) else tuple(size),
        patch_size=config["patch_size"],
        in_chans=config["in_channels"],
        num_classes=0,
        embed_dim=arch["embed_dims"],
        depth=arch["num_layers"],
        num_heads=arch["num_heads"],
        mlp_ratio=arch["feedforward_channels"] / arch["embed_dims"],
        qkv_bias=config.get("qkv_bias", True),
    )


def _double(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _difference(first: Tensor, second: Tensor) -> float:
    if first.shape != second.shape:
        raise ValueError(f"Shapes {tuple(first.shape)} and {tuple(second.shape)} were compared.")
    return (first.double() - second.double()).abs().max().item()


def _require_small(differences: Iterable[float]) -> float:
    largest = max(differences)
    # Written so that NaN fails too.
    if not largest <= TOLERANCE:
        raise ValueError(
            f"The check failed, nothing was written: the largest difference is {largest:.3g}, "
            f"allowed is {TOLERANCE:g}. The file's network computes something else than its "
            "tensors' names say. Are the number of heads and the layer-norm eps right?"
        )
    return largest

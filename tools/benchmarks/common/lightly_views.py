"""The views of a config as lightly makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmengine.config import Config
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mmdino.datasets.transforms.views.group import parse_view_groups


def views_of(config: Config) -> list[dict]:
    """Returns the view groups of a config."""
    return [dict(group) for group in config.train_dataloader.dataset.pipeline[1].views]


def lightly_transform(groups: Sequence[dict]) -> Callable[[Image.Image], list[Tensor]]:
    """Returns lightly's transform for the views of a config.

    Args:
        groups: The two global views and, if there are any, the local ones. The colours of the first
            are those of all, and the second alone is solarised.
    """
    from lightly.transforms.dino_transform import DINOTransform

    first, second, *others = parse_view_groups(list(groups))
    # Without local views lightly still wants their options.
    local, count = (others[0], others[0].num) if others else (first, 0)
    return DINOTransform(
        global_crop_size=first.size[0],
        global_crop_scale=first.scale,
        local_crop_size=local.size[0],
        local_crop_scale=local.scale,
        n_local_views=count,
        cj_prob=first.jitter_prob,
        cj_strength=1.0,
        cj_bright=first.brightness,
        cj_contrast=first.contrast,
        cj_sat=first.saturation,
        cj_hue=first.hue,
        gaussian_blur=(first.blur_prob, second.blur_prob, local.blur_prob),
        solarization_prob=second.solarize_prob,
    )


class LightlyImages(Dataset):
    """Image files as lightly's views.

    Args:
        paths: Paths of the images.
        groups: View groups of a config.
    """

    def __init__(self, paths: Sequence[str], groups: Sequence[dict]) -> None:
        self.paths = paths
        self.transform = lightly_transform(groups)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        with Image.open(self.paths[index]) as file:
            return self.transform(file.convert("RGB"))

"""How the features of a folder of images are computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

DTYPES = ("float32", "float16")
"""Precisions of saved features."""
LABELS = ("auto", "folders", "none")
"""Where labels come from: folders if all images are in some, folders in any case, nowhere."""

SIZE, CROP = 256, 224
"""Sizes of networks whose files do not say their own, those of the authors' evaluations."""


@dataclass(frozen=True)
class ExtractionOptions:
    """How the features of a folder of images are computed.

    Args:
        size: Length of the shorter side in pixels, by bicubic interpolation with antialiasing.
            None is what the run of the network validated with, if its file says so, else
            ``SIZE``; with ``crop`` alone, in proportion.
        crop: Side of the central square that is kept, in pixels; None likewise.
        every: Use every n-th image in the order of the names.
        dtype: Precision of the saved features, ``"float32"`` or ``"float16"``.
        amp: Whether to compute them under autocast.
        batch_size: Images per forward pass.
        workers: Processes that read images, 0 for none.
        overwrite: Whether to replace a bank of something else.

    Raises:
        ValueError: If a size, the precision, the batch size or the number of workers is invalid.
    """

    size: int | None = None
    crop: int | None = None
    every: int = 1
    dtype: str = "float32"
    amp: bool = False
    batch_size: int = 64
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        sides = [side for side in (self.crop, self.size) if side is not None]
        if sides and (min(sides) < 1 or sides != sorted(sides)):
            raise ValueError(
                f"The crop of {self.crop} pixels must be at least 1 and at most the size of "
                f"{self.size}, to which the shorter side is resized. For images of 32 pixels: "
                "--size 32 --crop 32. Leave both out for those of the run."
            )
        if self.dtype not in DTYPES:
            raise ValueError(
                f"invalid dtype={self.dtype!r} of features: expected {' or '.join(DTYPES)}."
            )
        if self.batch_size < 1 or self.workers < 0:
            raise ValueError(
                f"Features need a batch size of at least 1 and 0 or more workers, not "
                f"{self.batch_size} and {self.workers}."
            )

    def with_sizes(self, size: int | None = None, crop: int | None = None) -> ExtractionOptions:
        """Returns the options with both sizes.

        Args:
            size: Size of the network, if it is known.
            crop: Its crop, likewise.
        """
        size, crop = (SIZE, CROP) if size is None or crop is None else (size, crop)
        if self.size is not None and self.crop is not None:
            return self
        if self.size is not None:
            return replace(self, crop=min(self.size, max(1, round(self.size * crop / size))))
        if self.crop is not None:
            return replace(self, size=max(self.crop, round(self.crop * size / crop)))
        return replace(self, size=size, crop=crop)

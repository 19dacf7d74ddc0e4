"""Loading of images by a function."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from inspect import signature

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from mmdino.datasets.readers.levels import ReaderMismatchError
from mmdino.registry import FUNCTIONS, TRANSFORMS
from mmdino.utils.numbers import require_number
from mmdino.utils.printable import printable


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Loads an image of a format that mmcv's ``LoadImageFromFile`` does not read, in its place.

    A reader is a function that takes the content of a file as ``bytes`` and returns the image, of
    shape (H, W, C) or (H, W) in uint8 or uint16, colours as RGB. It is registered in mmengine's
    ``FUNCTIONS``; mmdino has :func:`~mmdino.datasets.readers.tiff.read_tiff` and
    :func:`~mmdino.datasets.readers.dicom.read_dicom`. For a file that is damaged it raises a
    ``ValueError``; ``ImageFolder`` then takes another image.

    Images of three channels are turned round, since OpenMMLab's are BGR and its preprocessors turn
    them back. All others keep the order of the reader.

    Required key: ``img_path``. Added keys: ``img``, ``img_shape``, ``ori_shape``.

    Args:
        reader: Name of the function in the registry, or a dict of it (``type``) and its arguments.
        channels: Number of channels that each image must have. None leaves that to the first batch.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        TypeError: If ``reader`` is neither, or the function has no such argument.
        ValueError: If the registry has no such function.

    Example:
        >>> step = dict(type="mmdino.LoadImage", reader="mmdino.read_tiff", channels=8)
    """

    def __init__(
        self,
        reader: str | Mapping,
        channels: int | None = None,
        backend_args: dict | None = None,
    ) -> None:
        if not isinstance(reader, (str, Mapping)) or (
            isinstance(reader, Mapping) and not isinstance(reader.get("type"), str)
        ):
            raise TypeError(
                f"LoadImage got reader={reader!r}; it must be the name of a function, such as "
                '"mmdino.read_tiff", or dict(type=NAME, ...) with its arguments.'
            )
        options = {"type": reader} if isinstance(reader, str) else dict(reader)
        name = options.pop("type")
        function = FUNCTIONS.get(name)
        if function is None:
            raise ValueError(
                f"LoadImage got reader {name!r}, which is not in the registry FUNCTIONS. mmdino "
                "has mmdino.read_tiff and mmdino.read_dicom; register your own with "
                "@mmengine.registry.FUNCTIONS.register_module()."
            )
        try:
            signature(function).bind(b"", **options)
        except TypeError as error:
            raise TypeError(f"LoadImage got reader={reader!r}: {error}.") from error
        if channels is not None:
            require_number("LoadImage", "channels", channels, least=1, whole=True)
        self.reader = partial(function, **options)
        self.name = name
        self.channels = channels
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Adds the image to a sample.

        Raises:
            ReaderMismatchError: If the image does not fit the reader's arguments, or has another
                type or number of channels.
            ValueError: If it is damaged.
        """
        path = results["img_path"]
        content = fileio.get(path, backend_args=self.backend_args)
        try:
            image = self.reader(content)
            self._check(image)
        except ReaderMismatchError as error:
            raise ReaderMismatchError(f"{printable(path)}: {error}") from error
        image = image[..., np.newaxis] if image.ndim == 2 else image
        if image.shape[2] == 3:
            image = image[..., ::-1]
        results["img"] = np.ascontiguousarray(image)
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _check(self, image: object) -> None:
        if (
            not isinstance(image, np.ndarray)
            or image.dtype not in (np.uint8, np.uint16)
            or image.ndim not in (2, 3)
        ):
            is_array = isinstance(image, np.ndarray)
            found = f"{image.dtype} of shape {image.shape}" if is_array else type(image).__name__
            raise ReaderMismatchError(
                f"the reader {self.name} returned {found}; LoadImage needs an array (H, W) or "
                "(H, W, C) of uint8 or uint16."
            )
        channels = image.shape[2] if image.ndim == 3 else 1
        if self.channels not in (None, channels):
            raise ReaderMismatchError(
                f"the image has {channels} channel(s), but LoadImage has channels={self.channels}. "
                "Select channels in the reader (bands of read_tiff), or leave such files out."
            )

    def __repr__(self) -> str:
        options = {"type": self.name, **self.reader.keywords}
        return f"{type(self).__name__}(reader={options}, channels={self.channels})"

"""Images in tar files, in the layout of WebDataset."""

from __future__ import annotations

import io
import logging
import os
import posixpath
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any

from mmengine.fileio import get
from mmengine.logging import print_log

from mmdino.datasets.annotation_file import is_label
from mmdino.datasets.image_check import content_fault
from mmdino.datasets.image_folder import ImageFolder
from mmdino.datasets.tar_backend import MemberAddress
from mmdino.datasets.tar_index import (
    Member,
    ShardIndex,
    Stamp,
    index_path,
    index_tar,
    read_index,
    write_index,
)
from mmdino.registry import DATASETS
from mmdino.utils.printable import printable

SAMPLE_NAME = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<field>[^/]*)", re.DOTALL)
"""A member's name: what the files of a sample share, up to the first dot, and the rest."""
LABEL = "cls"
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
SECONDS_PER_LINE = 10


@DATASETS.register_module()
class TarShards(ImageFolder):
    """Images in tar files in WebDataset's layout, as exactly repeatable as those of a folder.

    Successive members of a tar file that share the name up to its first dot, such as
    ``000017.jpg``, ``000017.json`` and ``000017.cls``, are a sample, of which the image is used,
    and with labels the class index in ``cls``. Samples have the order of the shards and of their
    members; all of :class:`ImageFolder` that is not about folders holds, such as ``every``,
    ``hold_out`` and what becomes of unreadable images.

    WebDataset itself streams shards through a shuffle buffer: order and views then depend on the
    number of workers and ranks, and a run cannot go on in the middle of an epoch as if it had not
    been interrupted. Here each image is read by its place in the file, so ``EpochSampler`` shuffles
    all images, and the same seed gives the same views with any number of workers or ranks, after a
    resume, and as from a folder with the same images in the same order. Such reads suit local and
    network disks; shards in an object store must be copied to one first.

    Python's ``tarfile`` finds the places, for it knows each variant of the format. (WebDataset's
    own index, ``wids``, reads through all shards at each start, and does not notice changes.) They
    are kept in a file ``SHARD.index.json`` beside each shard. A shard that has changed since is
    indexed again at the start, with a warning, since a resumed run then sees other images; if one
    changes during the run, that is an error. A sample's ``img_path``, such as
    ``tar:///data/train-0.tar?512+4711/000017.jpg``, can be read through mmengine's ``fileio``.

    Args:
        shards: Pattern of the files, or several of them, with braces or wildcards, such as
            ``"train-{000..146}.tar"`` or ``"train-*.tar"``.
        data_root: Folder that patterns are relative to.
        index_dir: Folder for the index files. None for that of the shards; where one may not write
            there, the shards are indexed at each start.
        field: Name of the image in a sample after the key, such as "jpg" or "left.png". Needed if
            samples have more than one image; None for any with one of the ``extensions``.
        **kwargs: Other arguments of :class:`ImageFolder`, but not those about folders and lists.

    Raises:
        FileNotFoundError: If no shard matches, or one is missing.
        ValueError: If a shard is compressed or damaged, has no image, or more than one in a sample;
            with labels, if a sample has none; or as :class:`ImageFolder`.

    Example:
        >>> dataset = dict(
        ...     type="mmdino.TarShards", data_root="data", shards="train-{000..146}.tar",
        ...     pipeline=[dict(type="LoadImageFromFile", ignore_empty=True), ...])
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        data_root: str = "",
        index_dir: str | None = None,
        field: str | None = None,
        **kwargs: Any,
    ) -> None:
        for name in ("list", "ann_file", "data_prefix"):
            if kwargs.get(name):
                raise ValueError(
                    f"TarShards got {name}={kwargs[name]!r}, which is for folders. Name the shards "
                    "alone; labels are read from members NAME.cls."
                )
        self.shards = [shards] if isinstance(shards, str) else [*shards]
        self.index_dir = index_dir
        self.field = field
        self._stamps: dict[str, Stamp] = {}
        super().__init__(data_root=data_root or os.curdir, **kwargs)

    def _all_images(self) -> list[dict]:
        paths = find_shards(self.shards, self.data_root)
        images, without = [], 0
        for path, index in zip(paths, self._indexed(paths), strict=True):
            self._stamps[path] = index.stamp
            for sample in samples_of(index.members):
                member = self._image_of(sample, path)
                if member is None:
                    without += 1
                    continue
                address = MemberAddress(path, member.offset, member.size, member.name)
                image: dict[str, Any] = {"img_path": str(address)}
                if self.with_label:
                    image["gt_label"] = self._label_of(sample, address)
                images.append(image)
        if not images:
            wanted = self.field or ", ".join(sorted(self.extensions))
            raise ValueError(
                f"No image in {len(paths)} shard(s), the first of which is {printable(paths[0])!r} "
                f"(expected members KEY.EXTENSION, with {wanted}). Set field or extensions."
            )
        if without:
            print_log(
                f"{without} of {without + len(images)} samples in {len(paths)} shard(s) have no "
                "image, and are left out.",
                "current",
                logging.WARNING,
            )
        return images

    def _indexed(self, paths: Sequence[str]) -> Iterator[ShardIndex]:
        """Yields the index of each shard, made anew where there is none that fits."""
        last, unwritten = time.monotonic(), 0
        if self.index_dir is not None and (
            twice := [n for n, count in Counter(Path(p).name for p in paths).items() if count > 1]
        ):
            raise ValueError(
                f"More than one shard has the name {printable(twice[0])!r}, so that one index_dir "
                "cannot hold the index of each. Leave out index_dir, or rename them."
            )
        for number, path in enumerate(paths):
            place = index_path(path, self.index_dir)
            index = read_index(place)
            if index is not None and index.stamp != Stamp.of(path):
                print_log(
                    f"The shard {printable(path)!r} has changed since it was indexed. It is "
                    "indexed again; a run that is resumed now sees other images.",
                    "current",
                    logging.WARNING,
                )
                index = None
            if index is None:
                index = index_tar(path)
                unwritten += not write_index(place, index)
                if time.monotonic() - last > SECONDS_PER_LINE:
                    last = time.monotonic()
                    print_log(f"Indexed {number + 1} of {len(paths)} shards.", "current")
            yield index
        if unwritten:
            print_log(
                f"The index of {unwritten} of {len(paths)} shards cannot be written beside them, "
                "and is made at each start. Set index_dir of TarShards to keep it.",
                "current",
                logging.WARNING,
            )

    def _image_of(self, sample: dict[str, Member], path: str) -> Member | None:
        if self.field is not None:
            return sample.get(self.field)
        found = [name for name in sample if f".{name}".lower().endswith(tuple(self.extensions))]
        if len(found) > 1:
            raise ValueError(
                f"A sample of {printable(path)!r} has {len(found)} images, "
                f"{', '.join(printable(sample[name].name) for name in found)}. Set field of "
                f"TarShards to one of {', '.join(map(printable, found))}."
            )
        return sample[found[0]] if found else None

    def _label_of(self, sample: dict[str, Member], address: MemberAddress) -> int:
        text = sample[LABEL].text if LABEL in sample else None
        if text is None or not is_label(text, self.CLASSES):
            found = "no member KEY.cls" if text is None else f"the label {printable(text)!r}"
            allowed = f"0 to {len(self.CLASSES) - 1}" if self.CLASSES else "at least 0"
            raise ValueError(
                f"The sample {printable(address.name)!r} of {printable(address.shard)!r} has "
                f"{found}: expected a class index, {allowed}, as text in KEY.cls. Leave out "
                "with_label to train without."
            )
        return int(text)

    def _fault(self, path: str) -> str | None:
        member = MemberAddress.parse(path)
        try:
            changed = Stamp.of(member.shard) != self._stamps[member.shard]
        except FileNotFoundError:
            changed = True
        if changed:
            raise RuntimeError(
                f"The shard {printable(member.shard)!r} was changed or removed since the run "
                "started, so that its images are no longer where they were. Start again."
            )
        return content_fault(io.BytesIO(get(path)), member.size, self.max_pixels)


def find_shards(patterns: Sequence[str], folder: str) -> list[str]:
    """Returns the absolute paths of the shards that patterns name, in the patterns' order.

    Raises:
        FileNotFoundError: If one matches nothing, or names a file that is missing.
        ValueError: If one is an address, or a shard is named twice.
    """
    paths: list[str] = []
    for pattern in patterns:
        if "://" in pattern or pattern.startswith("pipe:"):
            raise ValueError(
                f"TarShards got shards={pattern!r}, but reads files alone. Copy them to a disk."
            )
        for name in expand_braces(pattern):
            path = os.path.abspath(os.path.join(folder, name))
            # Wildcards are those of the pattern, not of the folder's own name.
            matches = [name] if os.path.isfile(path) else sorted(glob(name, root_dir=folder))
            found = [os.path.abspath(os.path.join(folder, match)) for match in matches]
            if not found:
                raise FileNotFoundError(
                    f"No shard {printable(path)!r}, of shards={printable(pattern)!r} of TarShards. "
                    "Set data_root and shards to tar files, such as train-{000..146}.tar or "
                    "train-*.tar."
                )
            paths += found
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"TarShards got the shard {printable(twice)!r} twice. Name each once.")
    return paths


def expand_braces(pattern: str) -> list[str]:
    """Expands ``{000..146}`` and ``{a,b}``, as shells and WebDataset do."""
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    if span := RANGE.fullmatch(match[1]):
        first, last = span.groups()
        step = 1 if int(first) <= int(last) else -1
        width = len(first) if first.startswith("0") else 0
        parts = [f"{i:0{width}d}" for i in range(int(first), int(last) + step, step)]
    else:
        parts = match[1].split(",")
    start, end = pattern[: match.start()], pattern[match.end() :]
    return [whole for part in parts for whole in expand_braces(f"{start}{part}{end}")]


def samples_of(members: Sequence[Member]) -> Iterator[dict[str, Member]]:
    """Yields the samples of a shard: successive members of one key, by the rest of their name."""
    key, sample = None, {}
    for member in members:
        match = SAMPLE_NAME.fullmatch(member.name)
        if match is None:
            continue
        if match["key"] != key or match["field"] in sample:
            if sample:
                yield sample
            key, sample = match["key"], {}
        sample[match["field"]] = member
    if sample:
        yield sample


def find_member(path: str | Path) -> str | None:
    """Returns the address of a member of a shard by its path through it, None if there is none.

    Args:
        path: Such as ``data/train-0.tar/0001.jpg``.
    """
    for shard in Path(path).parents:
        if shard.suffix.lower() == ".tar" and shard.is_file():
            name = Path(path).relative_to(shard).as_posix()
            member = _members(str(shard), Stamp.of(shard)).get(name)
            return member and str(MemberAddress(str(shard), member.offset, member.size, name))
    return None


@lru_cache(maxsize=16)
def _members(shard: str, stamp: Stamp) -> dict[str, Member]:
    """Returns the members of a shard by their names, from its index if that fits."""
    index = read_index(index_path(shard, None))
    if index is None or index.stamp != stamp:
        index = index_tar(shard)
    return {posixpath.normpath(member.name): member for member in index.members}

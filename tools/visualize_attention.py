"""Shows where a ViT looks: the class token's attention in the last block, head by head.

python tools/visualize_attention.py CHECKPOINT IMAGE --out attention

INPUT may be images, folders of images and videos. Each image gives one figure; with --format gif or
mp4, each folder or video gives one animation; with --figure, all images give one figure.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmdino.evaluation.attention import (
    FRACTION,
    attention_maps,
    check_fraction,
    require_attention,
    viewing_size,
)
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.command_line import progress_bar
from mmdino.visualization.attention_figure import (
    attention_frames,
    check_heads,
    draw_attention_figure,
    draw_attention_grid,
    write_figure,
)
from mmdino.visualization.media import (
    DEFAULT_FPS,
    is_video,
    list_images,
    read_frames,
    read_image,
    video_fps,
    write_animation,
)
from mmdino.weights.networks import load_backbone, untrained_like

HEADS_IN_GRID = {1: 4, 2: 2}
"""How many heads --figure shows by default, by the number of networks side by side."""


class Source(NamedTuple):
    """Images that belong together: one file, a folder, or a video.

    Attributes:
        path: Where they are.
        name: What they are called together.
        read: Reads them anew, with a name each.
        moves: Whether they can be an animation.
        fps: Frames a second of the animation.
    """

    path: Path
    name: str
    read: Callable[[], Iterator[tuple[str, np.ndarray]]]
    moves: bool
    fps: float = DEFAULT_FPS


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a checkpoint of mmdino, or any file of ViT weights")
    parser.add_argument("input", nargs="+", help="image, folder of images, or video")
    parser.add_argument("--out", type=Path, help="folder for what is written")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="lay all images in one figure instead"
    )
    parser.add_argument("--format", choices=("png", "gif", "mp4"), default="png")
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--untrained",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="show the same network untrained too: beside it in --figure, else in further files",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="shorter side in pixels at which images enter the network; by default their own, but "
        "at most 480 for a network of 224, and in proportion for others",
    )
    parser.add_argument(
        "--fraction", type=float, default=FRACTION, help="fraction of attention that a mask holds"
    )
    parser.add_argument(
        "--heads",
        type=int,
        nargs="+",
        help="heads to show, from 0; an animation shows their mean. By default all, in --figure "
        "the first 4, or 2 where the untrained network is beside",
    )
    parser.add_argument("--smooth", action="store_true", help="blend patches into each other")
    parser.add_argument("--maps", action="store_true", help="write the numbers as .npz too")
    parser.add_argument("--every", type=int, default=1, help="take each N-th frame or image only")
    parser.add_argument("--fps", type=float, help="frames a second of an animation")
    parser.add_argument("--num-heads", type=int, help="heads of the ViT, if the file does not tell")
    args = parser.parse_args(argv)
    if (args.out is None) == (args.figure is None):
        parser.error("give --out DIR for a file an image, or --figure FILE for one of all")
    if args.figure and (args.format != "png" or args.maps):
        parser.error("--figure writes one figure; leave out --format and --maps")
    if args.every < 1 or (args.fps is not None and args.fps <= 0):
        parser.error("--every must be at least 1, and --fps above 0")
    return args


def source_of(path: Path, every: int) -> Source:
    """Finds out what an input is.

    Raises:
        FileNotFoundError: If it does not exist, or is a folder without images.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"The input {str(path)!r} does not exist; it is to be an image, a folder of images or "
            "a video."
        )
    if path.is_dir():
        images = list_images(path)[::every]
        names = image_names(images)
        return Source(
            path,
            path.resolve().name,
            lambda: zip(names, map(read_image, images), strict=True),
            True,
        )
    if is_video(path):

        def frames() -> Iterator[tuple[str, np.ndarray]]:
            for index, frame in enumerate(read_frames(path, every)):
                yield f"{path.stem}_{index * every:06d}", frame

        return Source(path, path.stem, frames, True, video_fps(path) / every)
    return Source(path, path.stem, lambda: iter([(path.stem, read_image(path))]), False)


def image_names(paths: Sequence[Path]) -> list[str]:
    """Names images without their suffix, where that tells them apart."""
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else path.name for path in paths]


def load_networks(args: argparse.Namespace) -> dict[str, nn.Module]:
    """Loads the networks to show, by name.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If it has no attention, or no such heads.
    """
    trained = load_backbone(args.checkpoint, args.network, args.num_heads)
    require_attention(trained)
    check_heads(args.heads or (), num_heads(trained))
    networks = {"trained": trained}
    if args.untrained is not None:
        networks[f"untrained, seed {args.untrained}"] = untrained_like(trained, args.untrained)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {name: network.to(device) for name, network in networks.items()}


def num_heads(backbone: nn.Module) -> int:
    """Number of heads of the last block."""
    return backbone.layers[-1].attn.num_heads


def look(backbone: nn.Module, image: np.ndarray, name: str, size: int | None) -> Tensor:
    """Computes the attention (heads, h, w) of an image.

    Raises:
        ValueError: If the image or the size is too small, naming the image.
    """
    try:
        size = viewing_size(backbone, image) if size is None else size
        return attention_maps(backbone, image, size)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def tag(network: str) -> str:
    """What a network adds to the names of its files."""
    return "attention" if network == "trained" else "attention_untrained"


def claim(path: Path, written: set[Path]) -> None:
    """Notes that a file is written.

    Raises:
        ValueError: If this run has written it already, from another input.
    """
    if path in written:
        raise ValueError(
            f"Two inputs have one name, and the second would overwrite {path}. Give each a run "
            "with an --out of its own."
        )
    written.add(path)


def write_figures(
    sources: Sequence[Source], networks: Mapping[str, nn.Module], args: argparse.Namespace
) -> int:
    """Writes a figure an image and network; returns their number."""
    mode = "bilinear" if args.smooth else "nearest"
    bar = progress_bar()
    written: set[Path] = set()
    for source in sources:
        for name, image in source.read():
            for network, backbone in networks.items():
                maps = look(backbone, image, name, args.size)
                path = args.out / f"{name}_{tag(network)}.png"
                claim(path, written)
                notes = [name, f"{args.network} of {Path(args.checkpoint).name}"]
                if network != "trained":
                    notes[1] = f"{network}, built like {notes[1]}"
                figure = draw_attention_figure(image, maps, args.fraction, args.heads, notes, mode)
                write_figure(figure, path)
                if args.maps:
                    with atomic_write(path.with_suffix(".npz")) as temporary:
                        np.savez_compressed(temporary, attention=maps.numpy())
                bar.update()
    bar.file.write("\n")
    return bar.completed


def write_animations(
    sources: Sequence[Source], networks: Mapping[str, nn.Module], args: argparse.Namespace
) -> int:
    """Writes an animation a folder or video and network; returns their number.

    Raises:
        ValueError: If an input is a single image.
    """
    mode = "bilinear" if args.smooth else "nearest"
    bar = progress_bar()
    written: set[Path] = set()
    for source in sources:
        if not source.moves:
            raise ValueError(
                f"{source.path} is one image, and an animation needs several: give a folder of "
                "images or a video, or leave out --format."
            )
        for network, backbone in networks.items():
            maps = []
            for name, image in source.read():
                attention = look(backbone, image, name, args.size)
                maps.append(attention[args.heads or slice(None)].mean(0))
                bar.update()
                if maps[-1].shape != maps[0].shape:
                    raise ValueError(
                        f"{name} has another shape than the images before it. The frames of an "
                        "animation are to be of one size."
                    )
            path = args.out / f"{source.name}_{tag(network)}.{args.format}"
            claim(path, written)
            frames = (image for _, image in source.read())
            write_animation(
                path,
                attention_frames(frames, torch.stack(maps), args.fraction, mode),
                args.fps or source.fps,
            )
            if args.maps:
                with atomic_write(path.with_suffix(".npz")) as temporary:
                    np.savez_compressed(temporary, attention=torch.stack(maps).numpy())
    bar.file.write("\n")
    return len(sources) * len(networks)


def write_grid(
    sources: Sequence[Source], networks: Mapping[str, nn.Module], args: argparse.Namespace
) -> None:
    """Writes one figure of all images."""
    named = [pair for source in sources for pair in source.read()]
    maps = {
        network: [look(backbone, image, name, args.size) for name, image in named]
        for network, backbone in networks.items()
    }
    most = HEADS_IN_GRID[len(networks)]
    heads = args.heads or range(min(most, num_heads(networks["trained"])))
    mode = "bilinear" if args.smooth else "nearest"
    images = [image for _, image in named]
    write_figure(draw_attention_grid(images, maps, args.fraction, heads, mode), args.figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Draws."""
    args = parse_args(argv)
    check_fraction(args.fraction)
    init_default_scope("mmpretrain")
    sources = [source_of(Path(path), args.every) for path in args.input]
    networks = load_networks(args)
    if args.figure:
        write_grid(sources, networks, args)
        print(f"Wrote {args.figure}.")
        return
    write = write_figures if args.format == "png" else write_animations
    count = write(sources, networks, args)
    print(f"Wrote {count} {'figure' if args.format == 'png' else 'animation'}(s) to {args.out}.")


if __name__ == "__main__":
    main()

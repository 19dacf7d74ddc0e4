"""Reports the Jaccard index of attention and object masks (Caron et al. 2021, figure 4).

python tools/attention_jaccard.py CHECKPOINT --drawn
python tools/attention_jaccard.py CHECKPOINT --voc data/VOCdevkit/VOC2012
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmdino.evaluation.protocol import FRACTION
from mmdino.utils.command_line import progress_bar
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    import numpy as np
    from torch import nn
    from torch.utils.data import Dataset

    from mmdino.evaluation.image_input import Statistics
    from mmdino.evaluation.jaccard import JaccardSummary

DRAWN_IMAGES = 1000


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of mmdino, or any file of ViT weights")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--voc", metavar="DIR", help="data in the layout of PASCAL VOC 2012")
    data.add_argument(
        "--drawn",
        type=int,
        nargs="?",
        const=DRAWN_IMAGES,
        metavar="NUM",
        help=f"number of the demo's test images, by default {DRAWN_IMAGES}",
    )
    parser.add_argument("--split", default="val", help="name of the list of images of --voc")
    parser.add_argument(
        "--objects",
        choices=("class", "instance", "foreground"),
        default="class",
        help="what counts as one object of --voc",
    )
    parser.add_argument("--limit", type=int, help="use only the first images of --voc")
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--untrained",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="also evaluate the same network untrained",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="shorter side of the network's input in pixels; by default 480 for a network trained "
        "at 224, and in proportion for others; drawn images are not resized",
    )
    parser.add_argument(
        "--fraction", type=float, default=FRACTION, help="fraction of attention that a mask holds"
    )
    parser.add_argument("--num-heads", type=int, help="number of heads, if not in the file")
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < 1:
        parser.error(f"--limit must be at least 1, not {args.limit}")
    if args.drawn is not None and (args.limit, args.split, args.objects) != (None, "val", "class"):
        parser.error("--limit, --split and --objects are for --voc; give --drawn the number")
    return args


def build_dataset(args: argparse.Namespace) -> Dataset:
    """Builds the data set of the command line."""
    from mmengine.registry import DATASETS

    if args.drawn is not None:
        config = {"type": "mmdino.DrawnShapes", "num_images": args.drawn, "split": "test"}
    else:
        config = {
            "type": "mmdino.VOCObjects",
            "data_root": args.voc,
            "split": args.split,
            "objects": args.objects,
            "indices": args.limit,
        }
    return DATASETS.build({**config, "pipeline": []})


def image_of(sample: dict) -> np.ndarray:
    """Returns the image (H, W, 3) uint8, RGB, of a sample.

    Raises:
        ValueError: If its size differs from that of the mask.
    """
    from mmdino.visualization.media import read_image

    image = sample["img"][..., ::-1] if "img" in sample else read_image(sample["img_path"])
    if image.shape[:2] != sample["gt_seg_map"].shape:
        raise ValueError(
            f"{sample['img_path']} has size {image.shape[:2]} (height, width), but its mask "
            f"{sample['gt_seg_map'].shape}. They must be equal."
        )
    return image


def compare(
    dataset: Dataset,
    networks: Mapping[str, nn.Module],
    size: int | None,
    fraction: float,
    statistics: Statistics,
) -> dict[str, JaccardSummary]:
    """Computes the indices of networks, and of baselines that do not depend on the image.

    Args:
        dataset: Samples with ``gt_seg_map``.
        networks: Backbones by name.
        size: Shorter side of the networks' input in pixels; None for that of each image.
        fraction: Fraction of the attention that a mask holds.
        statistics: By which the networks' images are normalised.

    Returns:
        Summaries by name.
    """
    import numpy as np
    from mmengine.registry import METRICS

    from mmdino.evaluation.attention import attention_maps
    from mmdino.evaluation.jaccard import (
        BASELINES,
        JaccardSummary,
        baseline_masks,
        object_jaccards,
        summarise,
    )

    metrics = {
        name: METRICS.build({"type": "mmdino.AttentionJaccardMetric", "fraction": fraction})
        for name in networks
    }
    baselines: dict[str, list[np.ndarray]] = {kind: [] for kind in BASELINES}
    rng = np.random.default_rng(0)
    bar = progress_bar(len(dataset))
    for index in range(len(dataset)):
        sample = dataset[index]
        image = image_of(sample)
        for name, backbone in networks.items():
            try:
                sample["attention"] = attention_maps(backbone, image, size, statistics)
            except ValueError as error:
                raise ValueError(f"{sample['img_path']}: {error}") from error
            metrics[name].process(None, [sample])
        for kind, indices in baselines.items():
            masks = baseline_masks(kind, sample["attention"].shape, fraction, rng)
            indices.append(object_jaccards(masks, sample["gt_seg_map"]))
        bar.update()
    bar.file.write("\n")
    found = {}
    for name, metric in metrics.items():
        values = metric.evaluate(len(dataset))
        found[name] = JaccardSummary(
            **{field: values[f"{metric.prefix}/{field}"] for field in JaccardSummary._fields}
        )
    return found | {kind: summarise(indices) for kind, indices in baselines.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and prints the table."""
    args = parse_args(argv)

    import torch
    from mmengine.registry import init_default_scope

    from mmdino.evaluation.attention import check_fraction, require_attention
    from mmdino.evaluation.image_input import reference_size
    from mmdino.evaluation.stored_input import stored_statistics
    from mmdino.weights.networks import backbone_weights, build_backbone, untrained_like

    check_fraction(args.fraction)
    init_default_scope("mmpretrain")
    dataset = build_dataset(args)
    weights = backbone_weights(args.checkpoint, args.network, num_heads=args.num_heads)
    trained = build_backbone(weights.config, weights.state_dict, args.checkpoint)
    require_attention(trained)
    networks = {"trained": trained}
    if args.untrained is not None:
        networks[f"untrained, seed {args.untrained}"] = untrained_like(trained, args.untrained)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for network in networks.values():
        network.to(device)
    size = args.size
    if size is None and args.voc:
        size = reference_size(trained)
    print(f"{args.network} of {args.checkpoint}, shorter side {size or 'as it is'}")
    statistics = stored_statistics(weights.meta)
    summaries = compare(dataset, networks, size, args.fraction, statistics)
    for line in table(summaries, args.fraction):
        print(line)


def table(summaries: Mapping[str, JaccardSummary], fraction: float) -> list[str]:
    """Formats summaries as the lines of a table."""
    from mmdino.evaluation.jaccard import BASELINES

    counts = next(iter(summaries.values()))
    lines = [
        f"{counts.num_images} images with {counts.num_objects} objects; "
        f"{counts.num_without_object} images without an object are left out.",
        f"Jaccard index in %, masks of {100 * fraction:g} % of the attention:",
        f"  {'':20} {'best head':>10} {'best single head':>18} {'mean of heads':>14}",
    ]
    for name, found in summaries.items():
        single = f"{found.best_single_head:.1f} (head {found.single_head})"
        if name in BASELINES:
            single = f"{found.best_single_head:.1f}"
        lines.append(f"  {name:20} {found.best_head:10.1f} {single:>18} {found.mean_head:14.1f}")
    return lines


if __name__ == "__main__":
    run_tool(main)

"""Draws the loss and the accuracy of trained classifiers around their weights (Li et al. 2018).

python tools/landscape.py CHECKPOINT [CHECKPOINT ...] CONFIG --out work_dirs/landscape

CONFIG is that of a classifier, as in configs/finetune/ and configs/linear/; it gives the images,
the loss and the network. Each figure has all networks side by side, on the same points, images and
loss. The same command continues where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.diagnostics.landscape_grid import Grid
from mmdino.utils.command_line import FIGURE_SUFFIXES, progress_bar, require_writable
from mmdino.utils.numbers import require_number
from mmdino.utils.options_action import OptionsAction
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmengine.config import Config

    from mmdino.diagnostics.landscape_run import Surface


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="+", help="checkpoints of the classifiers")
    parser.add_argument("config", help="config of a classifier")
    parser.add_argument(
        "--out", type=Path, default=Path("work_dirs/landscape"), help="(%(default)s)"
    )
    parser.add_argument("--names", nargs="+", help="a name for each checkpoint, for the figures")
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="CONFIG",
        help="a config for each checkpoint, whose network it has; by default CONFIG for all",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=OptionsAction, help="changes to all configs"
    )
    parser.add_argument(
        "--split",
        choices=("train", "val"),
        default="val",
        help="images of which loader (%(default)s); without augmentation in either case",
    )
    parser.add_argument(
        "--images", type=int, default=256, metavar="N", help="images, evenly spaced (%(default)s)"
    )
    parser.add_argument("--batch", type=int, default=64, help="images at a time (%(default)s)")
    defaults = Grid()
    parser.add_argument(
        "--points", type=int, default=defaults.points, help="along a direction, odd (%(default)s)"
    )
    parser.add_argument(
        "--span",
        type=float,
        default=defaults.span,
        help="largest step, in norms of the weights (%(default)s)",
    )
    parser.add_argument(
        "--lines",
        type=int,
        default=defaults.lines,
        help="further directions, each evaluated alone (%(default)s)",
    )
    parser.add_argument(
        "--plane",
        action=argparse.BooleanOptionalAction,
        default=defaults.plane,
        help="evaluate a plane of two directions",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the directions")
    parser.add_argument(
        "--batch-norm",
        choices=("reestimated", "stored"),
        default=defaults.batch_norm,
        help="statistics of batch norms at each point (%(default)s)",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=0.5,
        help="also give the fraction of points whose loss is that near the smallest (%(default)s)",
    )
    parser.add_argument(
        "--format", choices=[suffix[1:] for suffix in FIGURE_SUFFIXES], default="png"
    )
    args = parser.parse_args(argv)
    for name in ("images", "batch"):
        require_number("landscape", name, getattr(args, name), least=1, whole=True)
    require_number("landscape", "lines", args.lines, least=0, whole=True)
    require_number("landscape", "seed", args.seed, least=0, whole=True)
    for name in ("span", "within"):
        require_number("landscape", name, getattr(args, name), above=0)
    require_number("landscape", "points", args.points, least=3, whole=True)
    if args.points % 2 == 0:
        parser.error(f"--points must be odd, so that the middle is the network, not {args.points}")
    if not args.plane and not args.lines:
        parser.error("--no-plane with --lines 0 leaves nothing to evaluate")
    if args.models and len(args.models) != len(args.checkpoint):
        parser.error(
            f"--models takes one config for each of the {len(args.checkpoint)} checkpoint(s), not "
            f"{len(args.models)}"
        )
    return args


def load_config(path: str, args: argparse.Namespace, needs: Sequence[str]) -> Config:
    """Reads a config with the changes of the command line.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it has mistakes.
    """
    from mmdino.config_check import check_config
    from mmdino.config_check.config_files import read_config
    from mmdino.utils.config_options import merge_options

    cfg = read_config(path)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    check_config(cfg, needs)
    return cfg


def load_configs(cfg: Config, args: argparse.Namespace, names: Sequence[str]) -> dict[str, Config]:
    """Returns the config of each classifier by name.

    Raises:
        ValueError: If their losses differ.
    """
    if not args.models:
        return dict.fromkeys(names, cfg)
    configs = {}
    for name, path in zip(names, args.models, strict=True):
        configs[name] = own = load_config(path, args, ("model",))
        if loss_of(own) != loss_of(cfg):
            raise ValueError(
                f"{path} has the loss {loss_of(own)}, {args.config} has {loss_of(cfg)}: landscapes "
                "are only compared with the same loss. Set it with --cfg-options "
                "model.head.loss=..."
            )
    return configs


def loss_of(cfg: Config) -> str:
    """Describes the loss of a classifier's config."""
    head = cfg.model.get("head") or {}
    loss = head.get("loss", {"type": f"the sum of {head.get('type')}"})
    options = [f"{name}={value}" for name, value in loss.items() if name != "type"]
    return " ".join([str(loss["type"]), *options])


def images_of(cfg: Config, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Reads the images, through the transforms of the validation."""
    from mmdino.diagnostics.classifiers import fixed_batches, pipeline_of

    dataset = cfg[f"{args.split}_dataloader"].dataset
    pipeline = pipeline_of(cfg.val_dataloader.dataset)
    return fixed_batches(dataset, pipeline, args.images, args.batch)


def write_figures(
    out: Path, suffix: str, surfaces: Mapping[str, Surface], grid: Grid, notes: Sequence[str]
) -> list[str]:
    """Writes the figures and returns the names of their files."""
    from mmdino.visualization.attention_figure import write_figure
    from mmdino.visualization.landscape_figure import draw_contours, draw_lines, draw_surfaces

    figures = {}
    if grid.lines:
        figures["lines"] = draw_lines(surfaces, notes)
    if grid.plane:
        figures["contours"] = draw_contours(surfaces, notes)
        figures["surfaces"] = draw_surfaces(surfaces, notes)
    for name, figure in figures.items():
        write_figure(figure, out / f"{name}.{suffix}")
    return [f"{name}.{suffix}" for name in figures]


def describe_fractions(fractions: Mapping[str, Any]) -> str:
    """Says in a line how much of the points is near the smallest loss."""
    parts, diverged = [], []
    finite = [fraction for fraction in fractions["lines"] if fraction is not None]
    if finite:
        parts.append(
            f"{100 * fractions['lines_mean']:.0f} % of the points on {len(finite)} line(s) "
            f"(deviation {100 * fractions['lines_deviation']:.0f})"
        )
    if len(finite) < len(fractions["lines"]):
        diverged.append(f"on {len(fractions['lines']) - len(finite)} line(s)")
    if fractions.get("plane") is not None:
        parts.append(f"{100 * fractions['plane']:.0f} % of the plane")
    elif "plane" in fractions:
        diverged.append("in the plane")
    texts = []
    if parts:
        texts.append(f"within {fractions['within']:g} of the smallest loss: {', '.join(parts)}")
    if diverged:
        texts.append(f"no finite loss {' and '.join(diverged)}: the network may have diverged")
    return "; ".join(texts)


def main(argv: Sequence[str] | None = None) -> None:
    """Computes what is missing, and draws the figures."""
    args = parse_args(argv)

    from mmengine.registry import init_default_scope

    from mmdino.diagnostics.classifiers import batches_sha256, load_classifier
    from mmdino.diagnostics.landscape_run import RECORD, Landscape
    from mmdino.diagnostics.networks import network_names
    from mmdino.weights.runner_loading import restrict_loading

    restrict_loading()
    init_default_scope("mmpretrain")
    names = network_names(args.checkpoint, args.names)
    require_writable(args.out, "folder", "Choose another with --out.")
    cfg = load_config(args.config, args, ("model", "val_dataloader", f"{args.split}_dataloader"))
    configs = load_configs(cfg, args, names)
    models = {
        name: load_classifier(configs[name].model, path)
        for name, path in zip(names, args.checkpoint, strict=True)
    }
    batches = images_of(cfg, args)
    grid = Grid(**{field.name: getattr(args, field.name) for field in fields(Grid)})
    count = sum(len(batch["inputs"]) for batch in batches)
    data = {
        "images": count,
        "batch": args.batch,
        "images_sha256": batches_sha256(batches),
        "loss": loss_of(cfg),
    }
    landscape = Landscape(args.out, grid, data)
    missing = {
        name: landscape.missing(name, model, configs[name].model.get("data_preprocessor"))
        for name, model in models.items()
    }
    total = len(grid.coordinates())
    for name, points in missing.items():
        done = total - len(points)
        print(f"{name}: {total} points" + (f", {done} of them are there, skipped" if done else ""))
    bar = progress_bar(sum(map(len, missing.values())))
    for name, model in models.items():
        landscape.compute(name, model, batches, missing[name], bar)
    bar.file.write("\n")
    fractions = landscape.write_fractions(names, args.within)
    surfaces = {name: landscape.surface(name) for name in names}
    notes = [
        f"{count} images ({args.split}, not augmented), loss {loss_of(cfg)}",
        f"seed {grid.seed}; parameters of one axis not moved; batch norms, if any, "
        f"{args.batch_norm}",
    ]
    figures = write_figures(args.out, args.format, surfaces, grid, notes)
    for name in names:
        print(f"{name}, {describe_fractions(fractions[name])}")
    print(f"Written to {args.out}: {', '.join([RECORD, *figures])}")


if __name__ == "__main__":
    run_tool(main)

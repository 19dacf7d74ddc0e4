"""Reports the weighted k-NN accuracy of a checkpoint's teacher."""

from __future__ import annotations

import argparse

from mmengine.runner import Runner

from mmdino.command_line import existing_file, load_config, tool_parser


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument("checkpoint", help="path of the checkpoint")
    return parser.parse_args()


def main() -> None:
    """Validates."""
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = existing_file(args.checkpoint, "checkpoint")
    cfg.resume = False
    if cfg.get("val_cfg") is None:
        raise ValueError(
            f"{args.config} has no k-NN validation. Give it val_dataloader, val_cfg and "
            "val_evaluator with a labelled data set; configs/_base_/datasets/imagenet.py has some."
        )
    metrics = Runner.from_cfg(cfg).val()
    print(f"{args.checkpoint}:")
    for name, value in metrics.items():
        print(f"  {name}: {value:.2f} %")


if __name__ == "__main__":
    main()

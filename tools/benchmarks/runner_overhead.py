"""Times what mmengine's Runner and the hooks add to a training step.

python tools/benchmarks/runner_overhead.py. A small network is trained by the Runner with the hooks
of configs/dino_demo.py on a batch that is always the same, and in turn by the bare step: network,
loss, optimiser, teacher and centre. Left out is the figure of the run, which is drawn after 1, 2, 4
and so on iterations. What each hook takes is measured afterwards, with a clock around each, which
takes some microseconds itself; teacher and centre belong to the bare step too. With --history the
logged curves are as long as in the middle of a run. On a CPU the clock is that of the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from common.dino_step import made_ready, training_step
from common.options import SMOKE_MODEL, benchmark_parser, not_negative, positive, use_machine
from common.report import draw_bars, print_table, timing_rows, write_json
from common.timing import Timing, seconds_of
from mmdino.shipped import config_path
from mmdino.utils.tool_errors import run_tool

TARGET = 1.0
"""Milliseconds that are added to a step."""
CONFIG = "dino_demo"
BARE, RUNNER = "bare step", "Runner"
STAGES = ("before_train_iter", "after_train_iter")
BATCH, VIEW_SIZE = 2, 32
SMOKE = {"steps": 2, "rounds": 2}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=15)
    parser.add_argument("--steps", type=positive, default=50, help="training steps in a round")
    parser.add_argument(
        "--history", type=not_negative, default=0, help="iterations that the run has behind it"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_machine(args)
    if torch.device(args.device).type != get_device():
        raise ValueError(
            f"invalid --device {args.device}: mmengine trains on {get_device()} here. Use --device "
            f"{get_device()}, or hide the GPU with CUDA_VISIBLE_DEVICES=-1."
        )
    init_default_scope("mmpretrain")
    rows, parts = measure(args)
    print_table(
        rows,
        f"{args.steps} training steps, {args.history} iterations behind them, {args.device}, "
        f"{torch.get_num_threads()} thread(s). Target: at most {TARGET} ms added to a step.",
    )
    print_table(parts, "What each hook takes of a step")
    if args.json:
        tables = {"steps": rows, "hooks": parts}
        write_json(args.json, "runner_overhead", vars(args), tables, argv, args.device)
    if args.figure:
        draw_bars(args.figure, rows, f"{args.steps} training steps")


def measure(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Trains; returns a row for each case, and one for each hook that takes part in steps."""
    cfg = small_config()
    bare = training_step(made_ready(MODELS.build(cfg.model), args.device), None, "per_tensor")
    rounds = Rounds(bare, args)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cfg.work_dir = folder
        rounds.runner = Runner.from_cfg(cfg)
        # Not by the config, of which the Runner writes a copy as text.
        rounds.runner._train_dataloader = rounds
        rounds.runner.train()
    rows = timing_rows(rounds.timings, BARE)
    bare_seconds = rounds.timings[BARE].seconds
    for row, timing in zip(rows, rounds.timings.values(), strict=True):
        added = np.subtract(timing.seconds, bare_seconds)
        row["ms added to a step"] = 1000 * float(np.median(added)) / args.steps
    steps = args.rounds * args.steps
    parts = [
        {"hook": name, "ms a step": 1000 * seconds / steps}
        for name, seconds in sorted(rounds.by_hook.items(), key=lambda item: -item[1])
    ]
    return rows, parts


def small_config() -> Config:
    """Returns the config of a run on a small network, without validation."""
    cfg = Config.fromfile(config_path(CONFIG))
    arch = SMOKE_MODEL["arch"]
    cfg.model.backbone |= {"arch": arch, "img_size": VIEW_SIZE}
    cfg.model.head.in_channels = arch["embed_dims"]
    cfg.train_cfg.val_at_start = False
    del cfg.default_hooks.training_figure
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


class Rounds(DataLoader):
    """A loader that times what the training does with its batches, which are all the same.

    The first round is not counted. In the second half of the others a clock runs around each hook.

    Args:
        bare: The bare step, which takes a batch.
        args: Arguments of the command line.

    Attributes:
        runner: The training; to be set before it starts.
        timings: Seconds of each case.
        by_hook: Seconds of each hook, by its name, over all rounds with clocks.
    """

    def __init__(self, bare: Callable[[dict], Any], args: argparse.Namespace) -> None:
        iterations = args.steps * (1 + 2 * args.rounds)
        super().__init__(range(BATCH * iterations), BATCH)
        self.bare = bare
        self.args = args
        self.runner: Runner | None = None
        self.timings = {BARE: Timing([]), RUNNER: Timing([])}
        self.by_hook: dict[str, float] = {}
        self._clock = time.process_time if args.device == "cpu" else time.perf_counter

    def __iter__(self) -> Iterator[dict]:
        """Yields the batches of the run."""
        batch = random_batch()
        yield from self._steps(batch)
        self._lengthen_history()
        for _ in range(self.args.rounds):
            spent = dict.fromkeys(self.timings, 0.0)
            # Step by step in turns, since the speed of the machine changes within a round.
            for _ in range(self.args.steps):
                start = self._now()
                self.bare(batch)
                middle = self._now()
                yield batch
                spent[BARE] += middle - start
                spent[RUNNER] += self._now() - middle
            for case, seconds in spent.items():
                self.timings[case].seconds.append(seconds)
        self._put_clocks()
        for _ in range(self.args.rounds):
            yield from self._steps(batch)
        self.runner.train_loop.stop_training = True

    def _steps(self, batch: dict) -> Iterator[dict]:
        for _ in range(self.args.steps):
            yield batch

    def _now(self) -> float:
        if self.args.device != "cpu":
            torch.cuda.synchronize(self.args.device)
        return self._clock()

    def _lengthen_history(self) -> None:
        """Puts values before those that have been logged, as in a run that was resumed."""
        scalars = self.runner.message_hub.log_scalars
        for name, history in scalars.items() if self.args.history else ():
            values, counts = (np.resize(data, self.args.history) for data in history.data)
            scalars[name] = HistoryBuffer(values, counts)

    def _put_clocks(self) -> None:
        for hook in self.runner.hooks:
            for stage in STAGES:
                setattr(hook, stage, partial(self._timed, getattr(hook, stage)))

    def _timed(self, act: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        seconds = seconds_of(partial(act, *args, **kwargs), clock=self._clock)
        name = type(act.__self__).__name__
        self.by_hook[name] = self.by_hook.get(name, 0.0) + seconds


def random_batch() -> dict[str, Any]:
    """Returns a batch as a loader gives it."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, BATCH, 3, VIEW_SIZE, VIEW_SIZE)
    views = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return {"inputs": list(views), "data_samples": [DataSample() for _ in range(BATCH)]}


if __name__ == "__main__":
    run_tool(main)

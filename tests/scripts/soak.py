"""Trains through one accident after another: soak.py FOLDER SEED ACCIDENTS PRECISION.

Each attempt goes on from what the one before left, and meets its accident at a drawn place: between
iterations, while a checkpoint is written or named, while the pointer or the figure is, while an old
checkpoint is removed, or while the run resumes. In some the disk is full instead, or the newest
checkpoint is damaged afterwards. Writes ``report.json`` and the end of the run, and the end of one
that nothing happened to.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path

import tiny_run
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook

from mmdino.engine.checkpoints import newest_checkpoint

DISK_FULL = 28
"""Exit code of a process that a full disk ended."""
MICRO_BATCHES, KEPT = 13, 2
ACCIDENTS = {
    "before an iteration": 9,
    "after an iteration": 9,
    "while writing": 3,
    "before naming": 6,
    "after naming": 6,
    "while removing": 2,
    "while resuming": 1,
    "disk full while writing": 3,
    "disk full while naming": 6,
}
"""What happens, and at which occurrence at the latest."""


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


class Accident(Hook):
    """Lets the n-th occurrence of a moment end in a kill or a full disk."""

    priority = "LOWEST"

    def __init__(self, name, occurrence):
        self.name = name
        self.left = occurrence
        self.strike = disk_full if name.startswith("disk full") else kill

    def install(self):
        """Watches the writing of files in this process."""
        put, replace, unlink = LocalBackend.put, os.replace, Path.unlink

        def put_half(backend, content, path):
            if self.now("while writing"):
                Path(path).write_bytes(bytes(content)[: len(content) // 2])
                self.strike()
            put(backend, content, path)

        def name_file(source, target):
            # A figure that cannot be written stops no run.
            if self.strike is disk_full and Path(target).suffix in (".png", ".json"):
                return replace(source, target)
            if self.now("before naming") or self.now("while naming"):
                self.strike()
            replace(source, target)
            if self.now("after naming"):
                self.strike()
            return None

        def remove(path, **options):
            if path.suffix == ".pth" and self.now("while removing"):
                self.strike()
            unlink(path, **options)

        LocalBackend.put, os.replace, Path.unlink = put_half, name_file, remove

    def now(self, moment):
        """Counts a moment, and returns whether it is the one."""
        if not self.name.endswith(moment):
            return False
        self.left -= 1
        return self.left == 0

    def before_train(self, runner):
        if self.now("while resuming"):
            self.strike()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.now("before an iteration"):
            self.strike()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.now("after an iteration"):
            self.strike()


def train(work_dir, precision, epochs, accident=None):
    """Trains as far as the accident, and leaves ``end.pth`` where there is none."""
    model = tiny_run.vit_model()
    model["backbone"]["drop_path_rate"] = 0.5
    model["head"]["use_bn"] = True
    hooks = {
        "checkpoint": {
            "type": "mmdino.CheckpointHook",
            "by_epoch": False,
            "interval": 3,
            "max_keep_ckpts": KEPT,
            "save_best": "knn/top1",
            "rule": "greater",
        },
        "checkpoint_match": {"type": "mmdino.CheckpointMatchHook"},
        "training_figure": {"type": "mmdino.TrainingFigureHook", "num_images": 0},
    }
    runner = tiny_run.build(
        work_dir,
        model=model,
        batch_size=2,
        epochs=epochs,
        dataset=tiny_run.RandomViews(2 * MICRO_BATCHES),
        accumulative_counts=2,
        wrapper={
            "precision": precision,
            "loss_scale": {"init_scale": 2.0**60, "backoff_factor": 2.0**-50, "growth_interval": 2},
        },
        default_hooks=hooks,
        **tiny_run.validation(),
        resume=any(work_dir.glob("*.pth")),
    )
    if accident is not None:
        accident.install()
        runner.register_hook(accident)
    runner.train()
    state = {"model": runner.model.state_dict(), "optimizer": runner.optim_wrapper.state_dict()}
    torch.save(state, work_dir / "end" / "state.pt")


def in_a_process(*arguments):
    """Trains in a process of its own and returns its exit code."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    # The child must end here, with a code that tells an accident from a failure.
    try:
        train(*arguments)
    except OSError as error:
        traceback.print_exc()
        os._exit(DISK_FULL if error.errno == errno.ENOSPC else 1)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def damage_newest(work_dir, draw):
    """Flips a bit of the newest checkpoint or cuts it off, unless none would be left."""
    newest = newest_checkpoint(work_dir).found
    if newest is None or newest_checkpoint(work_dir, before=newest.iteration).found is None:
        return None
    path = newest.path
    content = bytearray(path.read_bytes())
    if draw.random() < 0.5:
        path.write_bytes(content[: draw.randrange(len(content))])
        return f"{path.name} cut off"
    # Within the tensors, which are most of the file.
    content[draw.randrange(len(content) // 4, len(content) // 2)] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"a bit of {path.name} flipped"


def soak(folder, seed, accidents, precision):
    draw = random.Random(seed)
    # Long enough not to end before the last accident.
    run = (precision, max(5, 3 * accidents // 5))
    work_dir = folder / "soaked"
    (work_dir / "end").mkdir(parents=True)
    report = []
    while len(report) < accidents:
        name = draw.choice(list(ACCIDENTS))
        occurrence = draw.randint(1, ACCIDENTS[name])
        code = in_a_process(work_dir, *run, Accident(name, occurrence))
        assert code in (-signal.SIGKILL, DISK_FULL), (name, occurrence, code)
        damaged = damage_newest(work_dir, draw) if draw.random() < 0.3 else None
        found = newest_checkpoint(work_dir).found if any(work_dir.glob("*.pth")) else None
        report.append([name, occurrence, code, damaged, found.iteration if found else 0])
    assert in_a_process(work_dir, *run) == 0
    (folder / "report.json").write_text(json.dumps(report))
    undisturbed = folder / "undisturbed"
    (undisturbed / "end").mkdir(parents=True)
    assert in_a_process(undisturbed, *run) == 0


if __name__ == "__main__":
    soak(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

"""A SwAV run small enough for a test, past the freeze and the start of the queue in four epochs."""

from __future__ import annotations

import tiny_methods
import tiny_run
import torch

IMAGES = 16
"""Images of an epoch."""
QUEUE = 24
"""Places of the queue: it is half full after the second epoch, and used from within the third."""


def model(**loss):
    """Config of SwAV with a ViT of width 12; ``loss`` goes to the loss."""
    options = {"num_prototypes": 10, "in_channels": 8, "queue_length": QUEUE, **loss}
    return tiny_methods.method("barlow_twins", loss={"type": "mmdino.SwAVLoss", **options})


def hooks(**changes):
    """Configs of SwAV's hooks: the queue starts with the second epoch."""
    defaults = {
        "EMATeacherHook": None,
        "CenterUpdateHook": None,
        "TeacherTempWarmupHook": None,
        "LastLayerFreezeHook": {"epochs": 1, "layer": "loss_function.prototypes"},
        "QueueStartHook": {"epochs": 1},
    }
    return tiny_run.hooks(**defaults | changes)


def options(**changes):
    """What a run of four epochs passes to ``tiny_run.build``."""
    return {
        "model": model(),
        "custom_hooks": hooks(),
        "dataset": tiny_run.RandomViews(IMAGES, torch.get_default_dtype()),
        "epochs": 4,
        **changes,
    }

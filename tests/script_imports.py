"""What the process has imported that scripts are forks of."""

from __future__ import annotations

import gc

import format_once
import mmpretrain.models  # noqa: F401
import tiny_run  # noqa: F401

import mmdino.engine.training
import mmdino.utils.command_line  # noqa: F401

format_once.install()
# mmengine's data sets call for a full collection, of which the imports would take most.
gc.collect()
gc.freeze()

"""Hooks."""

from mmdino.engine.hooks.center_update_hook import CenterUpdateHook
from mmdino.engine.hooks.checkpoint_hook import CheckpointHook
from mmdino.engine.hooks.checkpoint_match_hook import CheckpointMatchHook
from mmdino.engine.hooks.class_count_hook import ClassCountHook
from mmdino.engine.hooks.collapse_monitor_hook import CollapseMonitorHook
from mmdino.engine.hooks.ema_teacher_hook import EMATeacherHook
from mmdino.engine.hooks.equal_shapes_hook import EqualShapesHook
from mmdino.engine.hooks.feature_drop_hook import FeatureDropHook
from mmdino.engine.hooks.finite_loss_hook import FiniteLossHook
from mmdino.engine.hooks.gram_anchor_hook import GramAnchorHook
from mmdino.engine.hooks.iteration_seed_hook import IterationSeedHook
from mmdino.engine.hooks.last_layer_freeze_hook import LastLayerFreezeHook
from mmdino.engine.hooks.progress_hook import ProgressHook
from mmdino.engine.hooks.queue_start_hook import QueueStartHook
from mmdino.engine.hooks.report_hook import ReportHook
from mmdino.engine.hooks.runtime_info_hook import RuntimeInfoHook
from mmdino.engine.hooks.teacher_temp_warmup_hook import TeacherTempWarmupHook
from mmdino.engine.hooks.throughput_hook import ThroughputHook
from mmdino.engine.hooks.training_figure_hook import TrainingFigureHook
from mmdino.engine.hooks.unreadable_images_hook import UnreadableImagesHook

__all__ = [
    "CenterUpdateHook",
    "CheckpointHook",
    "CheckpointMatchHook",
    "ClassCountHook",
    "CollapseMonitorHook",
    "EMATeacherHook",
    "EqualShapesHook",
    "FeatureDropHook",
    "FiniteLossHook",
    "GramAnchorHook",
    "IterationSeedHook",
    "LastLayerFreezeHook",
    "ProgressHook",
    "QueueStartHook",
    "ReportHook",
    "RuntimeInfoHook",
    "TeacherTempWarmupHook",
    "ThroughputHook",
    "TrainingFigureHook",
    "UnreadableImagesHook",
]

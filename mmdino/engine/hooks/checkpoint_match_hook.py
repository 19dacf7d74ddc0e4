"""Checks that a checkpoint matches the model."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.model_access import bare_model
from mmdino.engine.sharding import state_shapes
from mmdino.models import FrozenBackbone
from mmdino.registry import HOOKS
from mmdino.weights.layouts.authors_full import dino_state_dict
from mmdino.weights.matching import allow_pos_embed_resize, compare

NETWORKS = ("backbone.", "neck.", "head.", "teacher.")


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Raises an error for a checkpoint that does not match, and converts the authors' full ones.

    mmengine logs mismatches and continues with random weights; here they are an error, except that
    position embeddings may differ in length, since the ViT resizes them. The tensors of an authors'
    file with student, teacher, heads and centre are renamed, so that ``load_from`` accepts it.

    Raises:
        ValueError: From loading, if tensors are missing, unexpected or of another shape, or if a
            run resumes from an authors' file.

    Example:
        >>> custom_hooks = [dict(type="mmdino.CheckpointMatchHook")]
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares names and shapes before the weights are loaded."""
        _convert_authors_file(runner, checkpoint)
        loaded = checkpoint.get("state_dict", checkpoint)
        expected = {
            name: torch.empty(shape, device="meta")
            for name, shape in state_shapes(runner.model).items()
        }
        match = compare(loaded, allow_pos_embed_resize(expected, loaded))
        unexpected = [name for name in match.unexpected if name.startswith(NETWORKS)]
        match = match._replace(unexpected=unexpected)
        if not match.complete or unexpected:
            model = bare_model(runner)
            frozen = isinstance(getattr(model, "backbone", None), FrozenBackbone)
            key = f"model.backbone{'.backbone' if frozen else ''}.init_cfg"
            raise ValueError(
                f"The checkpoint does not match the model: {match}. Use the config that the "
                f"checkpoint was trained with. To load only a backbone, set {key}="
                "dict(type='Pretrained', checkpoint=...) instead of load_from."
            )


def _convert_authors_file(runner: Runner, checkpoint: dict) -> None:
    """Renames the tensors of an authors' full file, in place; leaves any other file unchanged."""
    state = dino_state_dict(checkpoint)
    if state is None:
        return
    if runner._resume:
        raise ValueError(
            "A run cannot be resumed from an authors' file, which has no optimiser state of this "
            "project. Start a new run from its weights: --cfg-options load_from=FILE without "
            "--resume."
        )
    checkpoint.clear()
    checkpoint["state_dict"] = state
    runner.logger.info(
        f"Converted an authors' file: {len(state)} tensors of student, teacher, heads and centre."
    )

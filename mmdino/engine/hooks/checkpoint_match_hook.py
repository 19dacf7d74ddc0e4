"""The check that a checkpoint fits the model."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmdino.engine.sharding import state_shapes
from mmdino.models import FrozenBackbone
from mmdino.registry import HOOKS
from mmdino.weights.layouts.authors_full import dino_state_dict
from mmdino.weights.matching import allow_pos_embed_resize, compare

NETWORKS = ("backbone.", "neck.", "head.", "teacher.")


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Takes the authors' full files too, and refuses one that leaves weights as they are.

    A file of the authors' with student, teacher, heads and centre is renamed while it is loaded, so
    that ``load_from`` goes on from it. mmengine prints what does not match and carries on with
    random weights; here that is an error. Position embeddings may differ in length: the ViT resizes
    them.

    Raises:
        ValueError: From loading, with the tensors that are missing, unknown or of another shape, or
            where a run is to be resumed from a file of the authors'.

    Example:
        >>> custom_hooks = [dict(type="mmdino.CheckpointMatchHook")]
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares names and shapes before the weights are taken over."""
        _rename_authors(runner, checkpoint)
        came = checkpoint.get("state_dict", checkpoint)
        expected = {
            name: torch.empty(shape, device="meta")
            for name, shape in state_shapes(runner.model).items()
        }
        match = compare(came, allow_pos_embed_resize(expected, came))
        unknown = [name for name in match.unexpected if name.startswith(NETWORKS)]
        match = match._replace(unexpected=unknown)
        if not match.whole or unknown:
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            frozen = isinstance(getattr(model, "backbone", None), FrozenBackbone)
            key = f"model.backbone{'.backbone' if frozen else ''}.init_cfg"
            raise ValueError(
                f"The checkpoint does not fit the model: {match}. Use the config that the "
                f"checkpoint was trained with. To start from a backbone alone, set {key}="
                "dict(type='Pretrained', checkpoint=...) in place of load_from."
            )


def _rename_authors(runner: Runner, checkpoint: dict) -> None:
    """Puts our names in place of the authors' where the file is a full one of theirs."""
    state = dino_state_dict(checkpoint)
    if state is None:
        return
    if runner._resume:
        raise ValueError(
            "This file of the authors' holds no state of a run of this project, so that none can "
            "be resumed from it. Begin a new run with its weights: --cfg-options load_from=FILE "
            "without --resume."
        )
    checkpoint.clear()
    checkpoint["state_dict"] = state
    runner.logger.info(
        f"The file is the authors': {len(state)} tensors of student, teacher, heads and centre."
    )

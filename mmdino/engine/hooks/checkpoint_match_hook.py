"""The check that a checkpoint fits the model."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmdino.registry import HOOKS
from mmdino.weights.layouts.authors_full import dino_state_dict

MAX_NAMED = 5
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
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        expected = model.state_dict()
        came = checkpoint.get("state_dict", checkpoint)
        missing = [name for name in expected if name not in came]
        different = [
            f"{name} {tuple(came[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in came and came[name].shape != tensor.shape and not name.endswith("pos_embed")
        ]
        unknown = [name for name in came if name not in expected and name.startswith(NETWORKS)]
        if missing or different or unknown:
            raise ValueError(
                f"The checkpoint does not fit the model: of {len(expected)} tensors, {len(missing)}"
                f" are missing{_some(missing)} and {len(different)} have another shape"
                f"{_some(different)}; {len(unknown)} are not in the model{_some(unknown)}. Use the "
                "config that the checkpoint was trained with. To start from a backbone alone, set "
                "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=..., "
                "prefix='teacher.backbone.') in place of load_from."
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


def _some(names: list[str]) -> str:
    if not names:
        return ""
    more = len(names) - MAX_NAMED
    return f" ({', '.join(names[:MAX_NAMED])}{f' and {more} more' if more > 0 else ''})"

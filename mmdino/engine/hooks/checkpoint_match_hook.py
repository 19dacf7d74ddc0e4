"""Checks that a checkpoint matches the model."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.optim import Optimizer

from mmdino.engine.checkpoints import NUM_IMAGES
from mmdino.engine.model_access import bare_model
from mmdino.engine.network_config import config_changes, network_differences
from mmdino.engine.optimizer_state import lacks_moments, optimizer_mismatch, optimizer_tensors
from mmdino.engine.sharding import state_shapes
from mmdino.models import FrozenBackbone, SelfSupervisedModel
from mmdino.registry import HOOKS
from mmdino.utils.config_text import MAX_TEXT, literal_config
from mmdino.weights.checks import describe_non_finite, non_finite, state_dict_of
from mmdino.weights.layouts.authors_full import dino_state_dict
from mmdino.weights.matching import allow_pos_embed_resize, compare

NETWORKS = ("backbone.", "neck.", "head.", "teacher.")
MAX_SEED = 2**32
MAX_CHANGES = 12


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Raises an error for a checkpoint that does not match, and converts the authors' full ones.

    mmengine logs mismatches and continues with random weights; here they are an error, except that
    position embeddings may differ in length, since the ViT resizes them. So are weights that are
    not finite, and a network that differs in what its tensors do not show, such as the number of
    heads, as far as the checkpoint has its config. To resume, a checkpoint must have the state of
    the same optimiser, schedulers and parameters; other differences of the configs are logged. The
    tensors of an authors' file with student, teacher, heads and centre are
    renamed, so that ``load_from`` accepts it. What starts anew, such as the Gram teacher, is taken
    from a checkpoint to resume only.

    Raises:
        ValueError: From loading, if the checkpoint does not match, or if a run resumes from a file
            that is no checkpoint of a run.

    Example:
        >>> custom_hooks = [dict(type="mmdino.CheckpointMatchHook")]
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks the checkpoint before the weights are loaded."""
        _convert_authors_file(runner, checkpoint)
        loaded = checkpoint.get("state_dict", checkpoint)
        anew = () if runner._resume else getattr(bare_model(runner), "starts_anew", ())
        if anew:
            _leave_out(loaded, anew)
            runner.logger.info(
                f"{', '.join(anew)}* starts as the config says, not from the checkpoint."
            )
        _check_tensors(runner, loaded, anew)
        config = _stored_config(runner, checkpoint)
        _check_network(runner, config)
        if runner._resume:
            _check_run(runner, checkpoint)
            _check_optimizer(runner, checkpoint["optimizer"], config)
            _tell_changes(runner, checkpoint, config)


def _leave_out(loaded: Any, beginnings: tuple[str, ...]) -> None:
    """Removes the tensors whose names begin so, in place."""
    if isinstance(loaded, MutableMapping):
        for name in [name for name in loaded if str(name).startswith(beginnings)]:
            del loaded[name]


def _check_tensors(runner: Runner, loaded: Mapping[str, Any], anew: tuple[str, ...]) -> None:
    if not isinstance(loaded, Mapping) or not loaded:
        raise ValueError("The checkpoint has no weights: its state_dict is empty.")
    loaded = state_dict_of(loaded, "The checkpoint")
    expected = {
        name: torch.empty(shape, device="meta")
        for name, shape in state_shapes(runner.model).items()
        if not name.startswith(anew)
    }
    match = compare(loaded, allow_pos_embed_resize(expected, loaded))
    unexpected = [name for name in match.unexpected if name.startswith(NETWORKS)]
    match = match._replace(unexpected=unexpected)
    if not match.complete or unexpected:
        model = bare_model(runner)
        frozen = isinstance(getattr(model, "backbone", None), FrozenBackbone)
        key = f"model.backbone{'.backbone' if frozen else ''}.init_cfg"
        if isinstance(model, SelfSupervisedModel) and _lacks_heads(loaded, expected):
            raise ValueError(
                f"The checkpoint has no heads, as released weights have none, but a "
                f"{type(model).__name__} has. Start from its backbone: set {key}=dict("
                "type='Pretrained', checkpoint=...) instead of load_from. So that new heads do not "
                "spoil its features, train them on the frozen backbone first, then all at a low "
                "rate, as configs/dinov2/dinov2_continue_vits14.py does "
                "(default_hooks.backbone_freeze)."
            )
        raise ValueError(
            f"The checkpoint does not match the model: {match}. Use the config that the "
            f"checkpoint was trained with. To load only a backbone, set {key}="
            "dict(type='Pretrained', checkpoint=...) instead of load_from."
        )
    broken = non_finite(loaded)
    if broken:
        raise ValueError(
            f"The checkpoint's weights are not finite: {describe_non_finite(broken)}. Use an "
            "earlier one."
        )


def _lacks_heads(loaded: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether a file has a backbone, but neither heads nor a teacher, of which the model has some.

    A classifier of other projects is no head of this one.
    """
    heads = [name for name in expected if name.startswith("head.")]
    has_teacher = any(name.startswith("teacher.") for name in loaded)
    return bool(heads) and not has_teacher and not any(name in loaded for name in heads)


def _check_network(runner: Runner, config: Mapping[str, Any]) -> None:
    now = runner.cfg.get("model")
    then = config.get("model")
    if not isinstance(now, Mapping) or not isinstance(then, Mapping):
        return
    differences = network_differences(then, now)
    if differences:
        raise ValueError(
            "The checkpoint was trained with another network, although its tensors fit: "
            f"{'; '.join(differences)}. Use the config that the checkpoint was trained with. To "
            "change the network deliberately, extract the weights first "
            "(tools/model_converters/extract.py) and load them with init_cfg."
        )


def _check_run(runner: Runner, checkpoint: dict) -> None:
    """Checks that a checkpoint has what a run resumes from."""
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    missing = [
        *(f"meta.{name}" for name in ("epoch", "iter") if not _is_number(meta.get(name))),
        *(n for n in ("message_hub", "optimizer") if not isinstance(checkpoint.get(n), Mapping)),
    ]
    if missing:
        raise ValueError(
            f"The file is not a checkpoint that a run can resume from: it has no "
            f"{', '.join(missing)}. To start a new run from its weights, set load_from=FILE "
            "without --resume."
        )
    seed = meta.get("seed")
    if seed is not None and not (_is_number(seed) and seed < MAX_SEED):
        raise ValueError(
            f"The checkpoint has the seed {seed!r:.80}: expected 0 to {MAX_SEED - 1}. It was not "
            "written by a run."
        )
    _check_schedulers(runner, checkpoint.get("param_schedulers"))


def _check_schedulers(runner: Runner, saved: Any) -> None:
    own = runner.param_schedulers
    # Of several optimisers, the schedulers are in a dict.
    if isinstance(own, Mapping):
        return
    saved = saved if isinstance(saved, list) else []
    positions = [s for s in saved if isinstance(s, Mapping) and _is_number(s.get("_global_step"))]
    if len(positions) != len(own or []):
        raise ValueError(
            f"The checkpoint has the position of {len(positions)} scheduler(s), but the config "
            f"has {len(own or [])} in param_scheduler. Resume with the config of the checkpoint "
            "and save_param_scheduler=True, or start a new run from its weights: load_from=FILE "
            "without --resume."
        )


def _check_optimizer(runner: Runner, saved: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    then = _optimizer_type(config.get("optim_wrapper"))
    now = _optimizer_type(runner.cfg.get("optim_wrapper"))
    differ = None not in (then, now) and then != now
    if differ or _options_differ(saved, _optimizer(runner)):
        raise ValueError(
            f"The checkpoint has the state of {then or 'another optimiser'}, but the config has "
            f"{now or 'another one'}. Resume with the same optimiser, or start a new run from the "
            "weights: load_from=FILE without --resume."
        )
    optimizer = _optimizer(runner)
    mismatch = None if optimizer is None else optimizer_mismatch(saved, optimizer)
    if mismatch:
        raise ValueError(
            f"The state of the optimiser in the checkpoint does not fit: {mismatch}. Resume with "
            "the config of the checkpoint, or start a new run from its weights: load_from=FILE "
            "without --resume."
        )
    broken = non_finite(optimizer_tensors(saved))
    if broken:
        raise ValueError(
            f"The state of the optimiser in the checkpoint is not finite: "
            f"{describe_non_finite(broken)}. Use an earlier one."
        )


def _tell_changes(runner: Runner, checkpoint: dict, config: Mapping[str, Any]) -> None:
    """Logs what keeps a resumed run from equalling an uninterrupted one."""
    now = literal_config(runner.cfg.pretty_text) if config else {}
    changes = config_changes(config, now) if now else []
    sizes = checkpoint["meta"].get(NUM_IMAGES), len(runner.train_dataloader.dataset)
    if sizes[0] not in (None, sizes[1]):
        changes.append(f"the data set has {sizes[1]} images, had {sizes[0]!r:.80}")
    optimizer = _optimizer(runner)
    if optimizer is not None and lacks_moments(checkpoint["optimizer"], optimizer):
        changes.append("the checkpoint has no moments of the optimiser, which start afresh")
    if changes:
        more = len(changes) - MAX_CHANGES
        told = "; ".join(changes[:MAX_CHANGES]) + (f"; and {more} more" if more > 0 else "")
        if "optim_wrapper.optimizer" in told:
            told += ". Options that no scheduler sets, such as betas, stay those of the checkpoint"
        runner.logger.warning(f"Resuming with changes: {told}.")


def _is_number(value: Any) -> bool:
    return type(value) is int and value >= 0


def _optimizer(runner: Runner) -> Optimizer | None:
    """Returns the run's optimiser, if it is one and no longer a config."""
    optimizer = getattr(runner.optim_wrapper, "optimizer", None)
    return optimizer if isinstance(optimizer, Optimizer) else None


def _options_differ(saved: Any, optimizer: Optimizer | None) -> bool:
    """Returns whether saved parameter groups are of another optimiser, by the options they have.

    Each must have some that the other lacks, since releases of torch add options.
    """
    groups = saved.get("param_groups") if isinstance(saved, Mapping) else None
    if not groups or optimizer is None:
        return False
    own = {*optimizer.defaults, *optimizer.param_groups[0]}
    return bool(groups[0].keys() - own) and bool(optimizer.defaults.keys() - groups[0].keys())


def _stored_config(runner: Runner, checkpoint: dict) -> dict[str, Any]:
    meta = checkpoint.get("meta")
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    if not isinstance(text, str):
        return {}
    if len(text) > MAX_TEXT:
        runner.logger.warning(
            f"The config in the checkpoint has {len(text)} characters, too long to compare it with "
            "that of this run."
        )
        return {}
    return literal_config(text)


def _optimizer_type(optim_wrapper: Any) -> str | None:
    optimizer = optim_wrapper.get("optimizer") if isinstance(optim_wrapper, Mapping) else None
    kind = optimizer.get("type") if isinstance(optimizer, Mapping) else None
    return kind if isinstance(kind, str) else None


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

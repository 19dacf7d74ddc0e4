"""What is measured of a trained run: its size, and a linear probe on frozen features."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmdino.comparison.plan import Run
from mmdino.engine.checkpoints import newest_checkpoint
from mmdino.engine.precision import validates_under_autocast
from mmdino.evaluation.bank_metric import label_of
from mmdino.evaluation.features import extract_features
from mmdino.utils.printable import printable
from mmdino.weights.files import read_checkpoint


def measure(run: Run, linear: bool, strengths: Sequence[float] | None = None) -> dict[str, Any]:
    """Measures the last checkpoint of a run.

    Args:
        run: The run.
        linear: Whether to fit a linear classifier to the features of the k-NN bank and test it on
            the images of the validation.
        strengths: Values of C to choose from by cross-validation; by default those of
            :mod:`mmdino.evaluation.logistic_regression`.

    Returns:
        ``checkpoint``, None if it is gone; ``parameters`` that are trained; with ``linear`` also
        ``linear_top1`` in percent, the ``linear_c`` chosen of ``linear_strengths``, and
        ``linear_converged``.

    Raises:
        FileNotFoundError: If there is no whole checkpoint to fit a linear classifier to.
        ValueError: If its features are not finite.
    """
    cfg = run.method.cfg
    init_default_scope(cfg.get("default_scope") or "mmengine")
    search = newest_checkpoint(run.folder)
    if linear and search.found is None:
        raise FileNotFoundError(_without_checkpoint(run, search.passed_over))
    model = build_model(cfg)
    measured = {
        "checkpoint": None if search.found is None else search.found.path.name,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    if not linear:
        return measured
    # Here, since it needs scikit-learn.
    from mmdino.evaluation.logistic_regression import STRENGTHS, few_label_accuracy

    model.load_state_dict(read_checkpoint(search.found.path)["state_dict"])
    model.to(get_device()).eval()
    amp = validates_under_autocast(cfg.val_cfg.get("fp16", False))
    features, labels = features_of(model, cfg.val_cfg.bank_dataloader, amp)
    queries, query_labels = features_of(model, cfg.val_dataloader, amp)
    result = few_label_accuracy(features, labels, queries, query_labels, strengths or STRENGTHS)
    return measured | {
        "linear_top1": result.top1,
        "linear_c": result.strength,
        "linear_strengths": strengths,
        "linear_converged": result.converged,
    }


def _without_checkpoint(run: Run, passed_over: Sequence[str]) -> str:
    damaged = "".join(f" {printable(reason).rstrip('.')}." for reason in passed_over)
    return (
        f"the linear probe needs a whole checkpoint of the run, and {str(run.folder)!r} has none "
        f"any more.{damaged} Remove that folder to train the run again, or leave out the probe "
        "with --no-linear."
    )


def build_model(cfg: Config) -> nn.Module:
    """Builds the model of a config as a runner does, without weights."""
    model = copy.deepcopy(cfg.model)
    if cfg.get("data_preprocessor") is not None:
        model.setdefault("data_preprocessor", cfg.data_preprocessor)
    return MODELS.build(model)


def features_of(model: nn.Module, loader: Config, amp: bool) -> tuple[np.ndarray, np.ndarray]:
    """Computes the features (N, D) and labels (N,) of all images of a loader."""
    features, labels = [], []
    for part, samples in extract_features(model, Runner.build_dataloader(loader, seed=0), amp):
        features.append(part.cpu())
        labels += [label_of(sample) for sample in samples]
    return torch.cat(features).numpy(), np.array(labels)

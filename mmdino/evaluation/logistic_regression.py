"""Logistic regression on frozen features of few labelled images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from mmdino.evaluation.protocol import FOLDS, STRENGTHS

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Logistic regression needs scikit-learn, which is not installed. Install it with: pip "
        'install "mmdino[evaluate]"'
    ) from error

MAX_ITERATIONS = 1000


class FewLabelResult(NamedTuple):
    """Result of a logistic regression."""

    top1: float
    """Accuracy on the test images, in percent."""
    strength: float
    """The inverse strength C of the regularisation that was used."""
    chosen_by: str
    """How it was chosen, in words."""
    converged: bool
    """Whether the optimiser converged."""


def few_label_accuracy(
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = FOLDS,
    seed: int = 0,
) -> FewLabelResult:
    """Fits a multinomial logistic regression to labelled features and tests it.

    As in the paper's few-label table (Caron et al. 2021, table 12) features are frozen,
    L2-normalised and of images without augmentation. Here they are also centred and scaled by one
    number, so that the components have a variance of 1 on average. Centring makes no difference to
    a model with an intercept; scaling gives C the same meaning for every network. Without it the
    features of an untrained network, which almost coincide, would need values of C of their own.

    C is chosen by cross-validation on the labelled images only.

    Args:
        features: Features (N, D) of the labelled images.
        labels: Their classes (N,).
        test_features: Features (T, D).
        test_labels: Their classes (T,).
        strengths: Values of C to choose from: scikit-learn's inverse strength of the squared
            penalty on the weights, relative to the summed losses of the images.
        folds: Folds of the cross-validation; fewer where a class has fewer images. If a class has
            only one, nothing can be held out, and the middle of ``strengths`` is used.
        seed: Seed of the folds.

    Returns:
        The accuracy and how C was chosen.

    Raises:
        ValueError: If there is only one class, there are no test images, features are not finite or
            of different widths, or an option is out of range.
    """
    _check_features("labelled images", features, labels, features.shape[1:])
    _check_features("test images", test_features, test_labels, features.shape[1:])
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        raise ValueError("A classifier needs labelled images of at least two classes; got one.")
    if not strengths or not all(isinstance(c, Real) and 0 < c < math.inf for c in strengths):
        raise ValueError(
            f"invalid C={tuple(strengths)} of logistic regression: expected finite numbers above 0."
        )
    if not isinstance(folds, Integral) or folds < 2:
        raise ValueError(
            f"invalid folds={folds!r} of logistic regression: expected an integer of at least 2."
        )
    prepare = scaling(features)
    features, test_features = prepare(features), prepare(test_features)
    strengths = sorted(strengths)
    folds = min(folds, int(counts.min()))
    model = LogisticRegression(C=strengths[(len(strengths) - 1) // 2], max_iter=MAX_ITERATIONS)
    if len(strengths) == 1:
        chosen_by = "given"
    elif folds < 2:
        chosen_by = "the middle of the list: a class has one image, and none can be held out"
    else:
        chosen_by = f"{folds}-fold cross-validation of {len(labels)} labelled images"
        search = GridSearchCV(
            model,
            {"C": strengths},
            cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
            refit=False,
        )
        # Ties are resolved in favour of the first, the strongest regularisation.
        model.set_params(**search.fit(features, labels).best_params_)
    model.fit(features, labels)
    top1 = 100 * float(np.mean(model.predict(test_features) == test_labels))
    return FewLabelResult(top1, model.C, chosen_by, bool(model.n_iter_.max() < MAX_ITERATIONS))


def scaling(features: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that normalises features as those of the labelled images.

    Args:
        features: Features (N, D) of the labelled images.

    Returns:
        A function of features (M, D) that L2-normalises them, subtracts the mean of the labelled
        images' and divides by the root of their mean variance. Its result is in float64.
    """
    directions = _unit(features)
    center = directions.mean(0)
    spread = np.sqrt(np.square(directions - center).mean())
    # Features that are all equal have no spread; they stay 0.
    spread = spread if spread > 0 else 1.0
    return lambda others: (_unit(others) - center) / spread


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, np.finfo(np.float64).tiny)


def _check_features(
    name: str, features: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]
) -> None:
    if not len(features) or len(features) != len(labels):
        raise ValueError(
            f"Logistic regression got {len(features)} features and {len(labels)} labels of the "
            f"{name}: expected at least one, and as many labels."
        )
    if len(shape) != 1 or features.shape[1:] != shape:
        raise ValueError(
            f"Logistic regression needs features (N, D) of the same width D, got {features.shape} "
            f"of the {name} and a width of {shape}. Compute both with the same network."
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"The features are not finite, those of the {name}. Check the network's weights: "
            "training may have diverged, or a file may be damaged."
        )

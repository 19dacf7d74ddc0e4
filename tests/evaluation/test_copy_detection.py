"""Features and measures of copy detection equal those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_tools
import torch
from mmengine.registry import MODELS
from sklearn.metrics import average_precision_score
from torch.nn import functional

from mmdino.evaluation.copy_detection import (
    CopyDescriptor,
    generalised_mean,
    learn_whitening,
    micro_average_precision,
    retrieved_average_precision,
    squeeze,
)


@pytest.fixture(scope="module")
def arrays(golden):
    return {k: v.numpy() if hasattr(v, "numpy") else v for k, v in golden("copy").items()}


def test_the_feature_is_the_references(arrays):
    tokens = torch.from_numpy(arrays["gem/tokens"])
    found = torch.cat([tokens[:, 0], generalised_mean(tokens[:, 1:])], dim=1)
    np.testing.assert_allclose(found, arrays["gem/feature"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("registers", [0, 2])
def test_class_token_and_patches_are_found_among_the_tokens(registers):
    vit = MODELS.build({**tiny_tools.VIT, "num_registers": registers, "out_type": "features"})
    vit.eval()
    images = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        (features,) = vit(images)
        found = CopyDescriptor(vit)(images)
    torch.testing.assert_close(found[:, :12], features.cls)
    torch.testing.assert_close(found[:, 12:], generalised_mean(features.patches))


def test_whitened_features_are_as_similar_as_the_references(arrays):
    whitening = learn_whitening(
        arrays["whitening/learn"], float(arrays["whitening/eigenvalue_floor"])
    )
    database, queries = (
        torch.from_numpy(whitening.apply(arrays[f"whitening/{name}"]))
        for name in ("database", "queries")
    )
    found = functional.normalize(queries, dim=1) @ functional.normalize(database, dim=1).T
    np.testing.assert_allclose(found, arrays["whitening/similarity"], rtol=0, atol=1e-5)
    gram = arrays["whitening/gram_database"]
    np.testing.assert_allclose(database @ database.T, gram, rtol=0, atol=1e-5 * abs(gram).max())


def test_whitening_makes_all_directions_count_equally():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((4000, 3)) @ np.diag([9.0, 1.0, 0.1])
    features -= features.mean(0)
    white = learn_whitening(features).apply(features)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(3), atol=1e-9)
    with pytest.raises(ValueError, match="no features, or all are 0"):
        learn_whitening(np.zeros((4, 3)))


def right_images(arrays):
    """Each original has itself, each strong copy those whose names begin alike."""
    originals = arrays["map/originals"]
    strong = [[i for i, o in enumerate(originals) if o[:4] == q[:4]] for q in arrays["map/strong"]]
    return [[i] for i in range(len(originals))] + strong


def test_the_precision_of_what_is_retrieved_is_the_references(arrays):
    found = retrieved_average_precision(arrays["map/retrieved"], right_images(arrays))
    np.testing.assert_allclose(found, arrays["map/ap"], rtol=0, atol=1e-12)
    count = len(arrays["map/originals"])
    assert abs(found[:count].mean() - arrays["map/original"]) < 1e-12
    assert abs(found[count:].mean() - arrays["map/strong_map"]) < 1e-12


def test_micro_ap_is_the_formulas(arrays):
    scores, correct = arrays["micro_ap/scores"], arrays["micro_ap/correct"]
    count = int(arrays["micro_ap/num_positives"])
    assert abs(micro_average_precision(scores, correct, count) - arrays["micro_ap/value"]) < 1e-12


def test_micro_ap_of_equal_scores_depends_on_no_order():
    rng = np.random.default_rng(0)
    scores, correct = rng.integers(0, 8, 60) / 8, rng.random(60) > 0.6
    found = micro_average_precision(scores, correct, correct.sum())
    assert found == pytest.approx(average_precision_score(correct, scores), abs=1e-12)
    backwards = micro_average_precision(scores[::-1], correct[::-1], correct.sum())
    assert backwards == pytest.approx(found, abs=1e-12)
    # Copies that are in no pair are not found.
    twice = micro_average_precision(scores, correct, 2 * correct.sum())
    assert twice == pytest.approx(found / 2, abs=1e-12)


def test_micro_ap_needs_a_copy():
    with pytest.raises(ValueError, match="no copy to find"):
        micro_average_precision(np.ones(2), np.zeros(2, bool), 0)
    assert micro_average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0


def test_images_are_squeezed_to_a_square():
    assert squeeze(np.zeros((10, 30, 3), np.uint8), 16).shape == (16, 16, 3)

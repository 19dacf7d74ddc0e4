"""Retrieval ranks and scores as the reference does on its arrays."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_tools
import torch
from mmengine.registry import MODELS
from torch.nn import functional

from mmdino.evaluation.retrieval import (
    DIFFICULTIES,
    SCALES,
    RetrievalDescriptor,
    average_precision,
    multi_scale,
    rank,
    retrieval_scores,
    shrink,
)
from mmdino.evaluation.revisited_ground_truth import QueryTruth


@pytest.fixture(scope="module")
def arrays(golden):
    return {name: tensor.numpy() for name, tensor in golden("retrieval").items()}


@pytest.fixture(scope="module")
def truth(arrays):
    kinds = ("easy", "hard", "junk")
    return [
        QueryTruth(*(arrays[f"gnd/{query}/{kind}"] for kind in kinds))
        for query in range(int(arrays["num_queries"]))
    ]


def test_the_ranking_is_the_references(arrays):
    np.testing.assert_array_equal(rank(arrays["queries"], arrays["database"]), arrays["ranks"])


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_scores_equal_the_references(arrays, truth, difficulty):
    scores = retrieval_scores(arrays["ranks"], truth, difficulty, arrays["ks"].tolist())
    found = {
        "map": scores.mean_average_precision,
        "ap": scores.average_precision,
        "mean_precision_at_k": scores.mean_precision_at_k,
        "precision_at_k": scores.precision_at_k,
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, arrays[f"{difficulty}/{name}"], rtol=0, atol=1e-12)


def test_the_average_precision_of_one_query(arrays):
    found = average_precision(arrays["ap/ranks"], int(arrays["ap/num_positives"]))
    assert abs(found - arrays["ap/ap"]) < 1e-12


def test_images_that_are_not_ranked_are_not_found():
    truth = [QueryTruth(*(np.array(part, int) for part in ([7], [2, 9], [])))]
    scores = retrieval_scores(np.array([[2], [0]]), truth, "medium", [1, 2])
    assert scores.mean_average_precision == pytest.approx(1 / 3)
    np.testing.assert_array_equal(scores.precision_at_k, [[1, 1]])


def test_nothing_found_at_all_is_zero():
    truth = [QueryTruth(*(np.array(part, int) for part in ([7], [], [])))]
    scores = retrieval_scores(np.array([[2], [0]]), truth, "medium", [1])
    assert scores.mean_average_precision == 0
    assert scores.mean_precision_at_k == 0


def test_queries_without_right_images_leave_no_mean():
    truth = [QueryTruth(*(np.array(part, int) for part in ([], [], [1])))]
    scores = retrieval_scores(np.array([[0], [1]]), truth, "hard")
    assert np.isnan(scores.mean_average_precision)
    assert np.isnan(scores.mean_precision_at_k).all()


@pytest.mark.parametrize("ks", [[], [0], [5, -1]])
def test_ranks_below_1_are_refused(ks):
    with pytest.raises(ValueError, match="at least 1"):
        retrieval_scores(np.zeros((1, 0), int), [], "easy", ks)


def test_the_multi_scale_feature_is_the_references(arrays):
    weight, images = (torch.from_numpy(arrays[f"multi_scale/{k}"]) for k in ("weight", "input"))
    np.testing.assert_allclose(SCALES, arrays["multi_scale/scales"])

    def model(batch):
        return torch.tanh(functional.conv2d(batch, weight, stride=8)).mean((2, 3))

    found = multi_scale(model, images)
    np.testing.assert_allclose(found, arrays["multi_scale/feature"], rtol=0, atol=1e-12)
    # Images of a batch do not share a length, which those of the reference would.
    torch.testing.assert_close(multi_scale(model, torch.cat([images, 2 * images]))[:1], found)


def test_sides_are_cut_to_whole_patches():
    vit = MODELS.build(tiny_tools.VIT)
    vit.eval()
    images = torch.randn(1, 3, 45, 35)
    with torch.no_grad():
        found = RetrievalDescriptor(vit)(images)
        expected = functional.normalize(vit(images[..., :40, :32])[-1], dim=1)
    torch.testing.assert_close(found, expected)
    assert RetrievalDescriptor(vit, SCALES).least_side == 16


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 50), (64, 32)), ((50, 100), (32, 64)), ((64, 9), (64, 9))]
)
def test_images_are_shrunk_and_never_enlarged(shape, expected):
    assert shrink(np.zeros((*shape, 3), np.uint8), 64).shape == (*expected, 3)

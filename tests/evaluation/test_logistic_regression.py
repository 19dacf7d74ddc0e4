"""Logistic regression on few labels finds what is there and does not look at the test images."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from mmdino.evaluation.logistic_regression import few_label_accuracy, scaling


@pytest.fixture(scope="module")
def blobs():
    """Training and test features of four classes, directions with noise; returns a function."""
    means = np.random.default_rng(9).normal(size=(4, 16))

    def draw(number, seed, noise=0.7):
        rng = np.random.default_rng(seed)
        labels = np.arange(number) % 4
        features = means[labels] + noise * rng.normal(size=(number, 16))
        return (features * rng.uniform(0.5, 2, (number, 1))).astype(np.float32), labels

    return draw


def test_classes_that_differ_are_told_apart(blobs):
    result = few_label_accuracy(*blobs(80, 0), *blobs(200, 1))
    assert result.top1 > 85
    assert result.chosen_by == "5-fold cross-validation of 80 labelled images"
    assert result.converged


def test_shuffled_labels_give_chance(blobs):
    features, labels = blobs(200, 0)
    labels = np.random.default_rng(0).permutation(labels)
    assert few_label_accuracy(features, labels, *blobs(400, 1)).top1 < 40


def test_a_given_c_is_that_of_plain_logistic_regression_on_scaled_directions(blobs):
    (features, labels), (test_features, test_labels) = blobs(60, 0), blobs(200, 1, noise=2.0)
    result = few_label_accuracy(features, labels, test_features, test_labels, [0.5])
    directions, test_directions = normalize(features), normalize(test_features)
    spread = directions.var(0).mean()
    # Features that are 1 / spread larger take a penalty that much smaller on their weights.
    plain = LogisticRegression(C=0.5 / spread, max_iter=1000, tol=1e-6).fit(directions, labels)
    assert result.top1 == 100 * plain.score(test_directions, test_labels)
    assert (result.strength, result.chosen_by) == (0.5, "given")


def test_length_and_a_common_part_of_the_features_do_not_count():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 8))
    prepare = scaling(features)
    scaled = prepare(features)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    assert np.square(scaled).mean() == pytest.approx(1)
    np.testing.assert_allclose(prepare(3 * features), scaled)
    assert np.isfinite(scaling(np.ones((5, 3)))(np.ones((2, 3)))).all()


def test_c_is_chosen_without_the_test_images(blobs):
    features, labels = blobs(80, 0, noise=1.5)
    test_features, test_labels = blobs(200, 1)
    chosen = {
        few_label_accuracy(features, labels, test_features, answers).strength
        for answers in (test_labels, 3 - test_labels, np.zeros_like(test_labels))
    }
    assert len(chosen) == 1


def test_noise_is_met_with_more_regularisation(blobs):
    calm = few_label_accuracy(*blobs(400, 0, noise=0.3), *blobs(50, 1), [1e-4, 1.0])
    assert calm.strength == 1e-4, "of equally good ones the strongest regularisation"
    features, labels = blobs(400, 0, noise=0.3)
    rare = labels.copy()
    rare[labels == 3] = np.where(np.arange(100) < 90, 2, 3)  # a class that a strong one gives up
    assert few_label_accuracy(features, rare, *blobs(50, 1), [1e-4, 1.0]).strength == 1.0


def test_one_image_a_class_takes_the_middle_strength(blobs):
    result = few_label_accuracy(*blobs(4, 0), *blobs(200, 1), [0.01, 0.1, 1.0, 10.0])
    assert result.strength == 0.1
    assert "a class has one image" in result.chosen_by


def test_folds_are_no_more_than_the_images_of_a_class(blobs):
    result = few_label_accuracy(*blobs(12, 0), *blobs(50, 1))
    assert result.chosen_by == "3-fold cross-validation of 12 labelled images"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strengths": []}, "invalid C=.* numbers above 0"),
        ({"strengths": [1, 0]}, "invalid C=.* numbers above 0"),
        ({"folds": 1}, "invalid folds=.* at least 2"),
    ],
)
def test_options_out_of_range_are_refused(blobs, options, message):
    with pytest.raises(ValueError, match=message):
        few_label_accuracy(*blobs(40, 0), *blobs(40, 1), **options)


def test_one_class_is_refused(blobs):
    features, labels = blobs(40, 0)
    with pytest.raises(ValueError, match="at least two classes"):
        few_label_accuracy(features, np.zeros_like(labels), features, labels)

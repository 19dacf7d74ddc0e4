"""Mini-batch CKA against its definition and its known properties."""

from __future__ import annotations

import pytest
import torch

from mmdino.diagnostics.cka import MinibatchCKA, centered_gram, unbiased_hsic


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic(x, y):
    """Song et al. 2012, equation 5, as Nguyen et al. 2021 print it."""
    n = len(x)
    k, m = ((a @ a.T).fill_diagonal_(0) for a in (x, y))
    one = torch.ones(n, dtype=x.dtype)
    total = (k @ m).trace() + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def cka(first, second, batch=None):
    result = MinibatchCKA()
    for rows in torch.arange(len(first[0])).split(batch or len(first[0])):
        result.add([layer[rows] for layer in first], [layer[rows] for layer in second])
    return result.result()


def test_hsic_is_that_of_the_papers():
    x, y = features(7, 5), features(7, 3, seed=1) + 4
    found = unbiased_hsic(centered_gram(x)[None], centered_gram(y)[None])
    assert found.item() == pytest.approx(hsic(x, y).item(), abs=1e-9)


def test_minibatches_average_hsic():
    x, y = features(12, 5), features(12, 3, seed=1)
    parts = [slice(0, 6), slice(6, 12)]
    sums = [sum(hsic(a[p], b[p]) for p in parts) for a, b in ((x, y), (x, x), (y, y))]
    expected = sums[0] / (sums[1] * sums[2]).sqrt()
    assert cka([x], [y], 6).item() == pytest.approx(expected.item(), abs=1e-9)


def test_equal_turned_and_scaled_features_are_alike_and_unrelated_ones_not():
    x = features(64, 6)
    turned = 3 * x @ torch.linalg.qr(features(6, 6, seed=1))[0] + 100
    unrelated = features(64, 6, seed=2)
    found = cka([x, unrelated], [turned, x], batch=16)
    assert found.shape == (2, 2)
    assert found[0].tolist() == pytest.approx([1, 1])
    # The biased estimate would be about 0.3.
    assert abs(found[1, 0]) < 0.1


def test_maps_are_flattened():
    x = features(8, 3, 4)
    assert cka([x], [x.flatten(1)]).item() == pytest.approx(1)


def test_too_few_images():
    with pytest.raises(ValueError, match="at least 4 images, got 3"):
        centered_gram(features(3, 2))
    with pytest.raises(ValueError, match="at least one batch"):
        MinibatchCKA().result()

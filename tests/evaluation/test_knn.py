"""Weighted k-NN gives the reference's accuracies, whatever the block sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mmdino.evaluation import knn
from mmdino.evaluation.knn import knn_accuracy, nearest_neighbours


@pytest.fixture
def tensors(golden):
    arrays = golden("knn")
    names = ("test_features", "test_labels", "train_features", "train_labels")
    return [arrays[name] for name in names]


def test_accuracies_equal_the_reference_exactly(golden, tensors):
    arrays = golden("knn")
    found = knn_accuracy(*tensors, ks=(5, 10, 20, 100), temperature=0.07)
    expected = {
        k: (float(arrays[f"k{k}/top1"]), float(arrays[f"k{k}/top5"])) for k in (5, 10, 20, 100)
    }
    assert found == expected


@pytest.mark.parametrize(("query_chunk", "bank_chunk"), [(7, 64), (200, 33), (1, 500)])
def test_blocks_do_not_change_the_neighbours(tensors, query_chunk, bank_chunk):
    queries, _, bank, _ = tensors
    whole = nearest_neighbours(queries, bank, 50, 10_000, 10_000)
    blocks = nearest_neighbours(queries, bank, 50, query_chunk, bank_chunk)
    torch.testing.assert_close(blocks[0], whole[0])
    assert torch.equal(blocks[1], whole[1])


def test_many_features_at_once_are_searched_by_groups():
    """The best are in the groups of largest maxima, or in the one column beyond the groups."""
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(3001, 8, generator=generator)
    bank[1500:1600] = bank[:100]
    queries = torch.randn(40, 8, generator=generator)
    found = nearest_neighbours(queries, bank, 30)
    similarities = functional.normalize(queries, dim=1) @ functional.normalize(bank, dim=1).T
    expected = similarities.topk(30, dim=1)
    torch.testing.assert_close(found[0], expected.values)
    torch.testing.assert_close(similarities.gather(1, found[1]), expected.values)
    assert all(len(row.unique()) == 30 for row in found[1])


def test_a_collapsed_network_takes_no_more_memory_than_another(monkeypatch):
    """All similarities are the same, and none of the later ones is above the first."""
    bank = torch.ones(3000, 4)
    monkeypatch.setattr(knn, "_above", None)
    similarities, indices = nearest_neighbours(bank[:20], bank, 30)
    torch.testing.assert_close(similarities, torch.ones(20, 30))
    assert all(len(row.unique()) == 30 for row in indices)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_feature_that_is_not_finite_is_told(tensors, value):
    queries, _, bank, _ = tensors
    bank = bank.clone()
    bank[100, 3] = value
    with pytest.raises(ValueError, match=r"The features are not finite.* row 100"):
        nearest_neighbours(queries, bank, 5, bank_chunk=64)


def test_more_neighbours_than_images_are_lowered(tensors):
    queries, labels, bank, bank_labels = tensors
    small = knn_accuracy(queries, labels, bank[:8], bank_labels[:8], ks=(8, 200))
    assert small[200] == small[8]


def test_length_of_a_feature_does_not_count(tensors):
    queries, labels, bank, bank_labels = tensors
    scaled = knn_accuracy(
        queries * 3, labels, bank * torch.rand(len(bank), 1).add(0.5), bank_labels, ks=(20,)
    )
    assert scaled == knn_accuracy(queries, labels, bank, bank_labels, ks=(20,))


def test_bank_in_a_file_and_in_half_precision_is_read_a_chunk_at_a_time(tensors, tmp_path):
    queries, labels, bank, bank_labels = tensors
    np.save(tmp_path / "bank.npy", bank.half().numpy())
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    found = nearest_neighbours(queries.half().numpy(), mapped, 50, 64, 100)
    whole = nearest_neighbours(queries.half().float(), bank.half().float(), 50)
    torch.testing.assert_close(found[0], whole[0])
    assert found[0].dtype == torch.float32
    mapped_accuracy = knn_accuracy(queries.numpy(), labels, mapped, bank_labels, ks=(20,))
    assert mapped_accuracy == knn_accuracy(queries, labels, bank.half(), bank_labels, ks=(20,))


def test_no_more_than_a_chunk_of_the_bank_is_asked_for(tensors):
    class Counted:
        def __init__(self, features):
            self.features, self.asked = features, []

        def __len__(self):
            return len(self.features)

        def __getitem__(self, rows):
            self.asked.append(len(range(*rows.indices(len(self)))))
            return self.features[rows]

    queries, _, bank, _ = tensors
    counted = Counted(bank)
    nearest_neighbours(queries, counted, 10, query_chunk=10, bank_chunk=64)
    assert max(counted.asked) == 64
    assert sum(counted.asked) == len(bank), "each feature is read once"

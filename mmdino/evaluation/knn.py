"""Weighted k-nearest-neighbour classification."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32

BANK_CHUNK = 65536
QUERY_CHUNK = 1024


class Features(Protocol):
    """Features (N, D) that are read a slice at a time: a tensor, an array or a feature bank."""

    def __len__(self) -> int:
        """Returns the number N of features."""

    def __getitem__(self, rows: slice) -> Tensor | np.ndarray:
        """Returns some of the features."""


@torch.no_grad()
def nearest_neighbours(
    queries: Features,
    bank: Features,
    k: int,
    query_chunk: int = QUERY_CHUNK,
    bank_chunk: int = BANK_CHUNK,
) -> tuple[Tensor, Tensor]:
    """Finds the k bank features of largest cosine similarity to each query.

    The bank is read once, a chunk at a time, and normalised chunk by chunk, so one that is mapped
    from a file need not fit into memory. What is held is the queries, a chunk, a block of
    similarities and the best k so far of each query.

    Args:
        queries: Features (Q, D), of any length.
        bank: Features (N, D), of any length; compared on the device and in the precision of the
            queries, but at least in float32.
        k: Number of neighbours, at most N.
        query_chunk: Queries a block of similarities.
        bank_chunk: Bank features a block of similarities.

    Returns:
        Similarities and bank indices (Q, k), the most similar first.
    """
    blocks = unit_rows(queries, 0, len(queries)).split(query_chunk)
    found = [
        (block.new_empty(len(block), 0), block.new_empty(len(block), 0, dtype=torch.int64))
        for block in blocks
    ]
    for start in range(0, len(bank), bank_chunk):
        part = unit_rows(bank, start, start + bank_chunk, like=blocks[0])
        for number, block in enumerate(blocks):
            values, places = (block @ part.T).topk(min(k, len(part)), dim=1)
            values = torch.cat([found[number][0], values], dim=1)
            places = torch.cat([found[number][1], places + start], dim=1)
            best_values, order = values.topk(min(k, values.shape[1]), dim=1)
            found[number] = (best_values, places.gather(1, order))
    similarities, indices = zip(*found, strict=True)
    return torch.cat(similarities), torch.cat(indices)


def unit_rows(features: Features, start: int, stop: int, like: Tensor | None = None) -> Tensor:
    """Reads features (N, D) from ``start`` to ``stop`` and gives them length 1.

    Args:
        features: Features (N, D).
        start: First row.
        stop: Row after the last, or beyond the end.
        like: Tensor whose device and precision the result has; by default those of the features.

    Returns:
        Features (stop - start, D), in float32 or float64.
    """
    rows = features[start:stop]
    if isinstance(rows, np.ndarray):
        rows = torch.from_numpy(np.array(rows))  # a copy: mapped files are read-only
    rows = at_least_float32(rows)
    return functional.normalize(rows if like is None else rows.to(like), dim=1)


@torch.no_grad()
def vote(similarities: Tensor, labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Lets the neighbours vote: each adds exp(similarity / temperature) to its class.

    Args:
        similarities: Similarities (Q, k).
        labels: Classes (Q, k) of the neighbours.
        num_classes: Number C of classes.
        temperature: Temperature; 0.07 in the paper (appendix E).

    Returns:
        Votes (Q, C).
    """
    votes = torch.zeros(len(similarities), num_classes, device=similarities.device)
    weights = (similarities / temperature).exp().to(votes.dtype)
    return votes.scatter_add_(1, labels, weights)


@torch.no_grad()
def knn_accuracy(
    queries: Features,
    query_labels: Tensor,
    bank: Features,
    bank_labels: Tensor,
    ks: tuple[int, ...] = (10, 20, 100, 200),
    temperature: float = 0.07,
) -> dict[int, tuple[float, float]]:
    """Computes top-1 and top-5 accuracy of weighted k-NN for several k from one search.

    Args:
        queries: Features (Q, D), not necessarily normalised.
        query_labels: Classes (Q,).
        bank: Features (N, D), which may be mapped from a file; see :func:`nearest_neighbours`.
        bank_labels: Classes (N,).
        ks: Numbers of neighbours; those above N are lowered to N.
        temperature: Temperature of the votes.

    Returns:
        For each k, top-1 and top-5 in percent. Top-5 with fewer than five classes or neighbours is
        the share of queries whose class got a vote at all.
    """
    num_classes = max(int(query_labels.max()), int(bank_labels.max())) + 1
    similarities, indices = nearest_neighbours(queries, bank, min(max(ks), len(bank)))
    labels = bank_labels.to(indices.device)[indices]
    target = query_labels.to(indices.device).unsqueeze(1)
    hits = {k: [0, 0] for k in ks}
    # In blocks again: the votes of 50,000 queries for 1000 classes are as large as their features.
    for start in range(0, len(target), QUERY_CHUNK):
        block = slice(start, start + QUERY_CHUNK)
        for k in ks:
            votes = vote(similarities[block, :k], labels[block, :k], num_classes, temperature)
            hit = votes.argsort(dim=1, descending=True).eq(target[block])
            hits[k][0] += hit[:, 0].sum().item()
            hits[k][1] += hit[:, : min(5, k)].sum().item()
    return {
        k: (100 * top1 / len(target), 100 * top5 / len(target)) for k, (top1, top5) in hits.items()
    }

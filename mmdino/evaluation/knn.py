"""Weighted k-nearest-neighbour classification."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BANK_CHUNK = 65536
QUERY_CHUNK = 1024


@torch.no_grad()
def nearest_neighbours(
    queries: Tensor,
    bank: Tensor,
    k: int,
    query_chunk: int = QUERY_CHUNK,
    bank_chunk: int = BANK_CHUNK,
) -> tuple[Tensor, Tensor]:
    """Finds the k most similar bank features of each query, a block of similarities at a time.

    Args:
        queries: Features (Q, D), L2-normalised.
        bank: Features (N, D), L2-normalised.
        k: Number of neighbours, at most N.
        query_chunk: Queries a block.
        bank_chunk: Bank features a block.

    Returns:
        Similarities and bank indices (Q, k), the most similar first.
    """
    similarities, indices = [], []
    for block in queries.split(query_chunk):
        best_values = block.new_empty(len(block), 0)
        best_indices = torch.empty(len(block), 0, dtype=torch.int64, device=block.device)
        for start in range(0, len(bank), bank_chunk):
            part = bank[start : start + bank_chunk].to(block.device)
            values, places = (block @ part.T).topk(min(k, len(part)), dim=1)
            values = torch.cat([best_values, values], dim=1)
            places = torch.cat([best_indices, places + start], dim=1)
            best_values, order = values.topk(min(k, values.shape[1]), dim=1)
            best_indices = places.gather(1, order)
        similarities.append(best_values)
        indices.append(best_indices)
    return torch.cat(similarities), torch.cat(indices)


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
    queries: Tensor,
    query_labels: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    ks: tuple[int, ...] = (10, 20, 100, 200),
    temperature: float = 0.07,
) -> dict[int, tuple[float, float]]:
    """Computes top-1 and top-5 accuracy of weighted k-NN for several k from one search.

    Args:
        queries: Features (Q, D), not necessarily normalised.
        query_labels: Classes (Q,).
        bank: Features (N, D).
        bank_labels: Classes (N,).
        ks: Numbers of neighbours; those above N are lowered to N.
        temperature: Temperature of the votes.

    Returns:
        For each k, top-1 and top-5 in percent. Top-5 with fewer than five classes or neighbours is
        the share of queries whose class got a vote at all.
    """
    num_classes = int(torch.cat([query_labels, bank_labels]).max()) + 1
    similarities, indices = nearest_neighbours(
        functional.normalize(queries, dim=1),
        functional.normalize(bank, dim=1),
        min(max(ks), len(bank)),
    )
    labels = bank_labels.to(indices.device)[indices]
    target = query_labels.to(indices.device).unsqueeze(1)
    accuracies = {}
    for k in ks:
        votes = vote(similarities[:, :k], labels[:, :k], num_classes, temperature)
        hits = votes.argsort(dim=1, descending=True).eq(target)
        top5 = hits[:, : min(5, k)].sum().item()
        accuracies[k] = (
            100 * hits[:, 0].sum().item() / len(target),
            100 * top5 / len(target),
        )
    return accuracies

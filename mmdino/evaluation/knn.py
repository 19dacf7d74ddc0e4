"""Weighted k-nearest-neighbour classification."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32

QUERY_CHUNK = 1024
CPU_BANK_CHUNK, BANK_CHUNK = 16384, 65536
CACHED_COLUMNS = 4096
GROUP = 32


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
    bank_chunk: int | None = None,
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
        bank_chunk: Bank features that are read at a time; by default 16384 on the CPU and 65536
            on accelerators.

    Returns:
        Similarities and bank indices (Q, k), the most similar first.

    Raises:
        ValueError: If a feature is not finite.
    """
    blocks = [
        _Neighbours(block, k) for block in unit_rows(queries, 0, len(queries)).split(query_chunk)
    ]
    device = blocks[0].queries.device
    if bank_chunk is None:
        bank_chunk = default_bank_chunk(device)
    step = columns_at_once(device, bank_chunk)
    room = blocks[0].queries.new_empty(max(query_chunk * step, bank_chunk))
    # Fresh memory for each part would take longer to get than to fill.
    part_room = torch.empty_like(blocks[0].queries[:0])
    for start in range(0, len(bank), bank_chunk):
        part = unit_rows(bank, start, start + bank_chunk, out=part_room)
        for block in blocks:
            if start == 0:
                block.begin_with(part, room)
                continue
            for offset in range(0, len(part), step):
                block.compare_with(part[offset : offset + step], start + offset, room)
    found = [block.finish() for block in blocks]
    similarities, indices = zip(*found, strict=True)
    return torch.cat(similarities), torch.cat(indices)


def default_bank_chunk(device: torch.device) -> int:
    """Returns the bank features that are read at a time."""
    return CPU_BANK_CHUNK if device.type == "cpu" else BANK_CHUNK


def columns_at_once(device: torch.device, bank_chunk: int) -> int:
    """Returns the bank features that queries are compared with at a time.

    On a CPU a block of similarities should fit into the cache, to be looked through in there.
    """
    return min(CACHED_COLUMNS, bank_chunk) if device.type == "cpu" else bank_chunk


class _Neighbours:
    """The best k so far of some queries (Q, D).

    Selecting the largest of a row of similarities costs more than computing them, and almost none
    of them is among the best k of all. So what is below a bound that k others reach goes first: by
    the maximum of a group at a time, since reading is cheap and selecting is not. What is left
    waits until there is enough of it to be worth a selection.
    """

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries
        self.k = k
        self.similarities = queries.new_empty(len(queries), 0)
        self.indices = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._num_waiting = 0

    def begin_with(self, bank: Tensor, room: Tensor) -> None:
        """Compares with the first features (N, D) of the bank, of length 1.

        Args:
            bank: Many features at once, so that there are enough groups for a good bound.
            room: Memory for similarities; sets how many queries are compared at a time.
        """
        found = [
            _best(_similarities(queries, bank, room), self.k)
            for queries in self.queries.split(max(1, len(room) // len(bank)))
        ]
        self.similarities, self.indices = (torch.cat(parts) for parts in zip(*found, strict=True))

    def compare_with(self, bank: Tensor, first_index: int, room: Tensor) -> None:
        """Compares with more features (N, D) of the bank.

        Args:
            bank: Features of length 1.
            first_index: Index of the first of them.
            room: Memory for Q * N similarities.
        """
        block = _similarities(self.queries, bank, room)
        if self.similarities.shape[1] < self.k:
            values, places = _best(block, self.k)
            self._take(values, places + first_index)
            return
        rows, places, values = _above(*_groups(block), self.similarities[:, -1:])
        self._waiting.append((rows, places + first_index, values))
        self._num_waiting += len(rows)
        if 2 * self._num_waiting > self.similarities.numel():
            self._take_waiting()

    def finish(self) -> tuple[Tensor, Tensor]:
        """Returns similarities and indices (Q, k), the most similar first."""
        self._take_waiting()
        return self.similarities, self.indices

    def _take_waiting(self) -> None:
        if self._num_waiting:
            entries = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting, self._num_waiting = [], 0
            self._take(*_as_rows(*entries, len(self.queries)))

    def _take(self, values: Tensor, indices: Tensor) -> None:
        values = torch.cat([self.similarities, values], dim=1)
        self.similarities, order = values.topk(min(self.k, values.shape[1]), dim=1)
        self.indices = torch.cat([self.indices, indices], dim=1).gather(1, order)


def _similarities(queries: Tensor, bank: Tensor, room: Tensor) -> Tensor:
    out = room[: len(queries) * len(bank)].view(len(queries), len(bank))
    return torch.mm(queries, bank.T, out=out)


def _best(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of each row of a block (Q, N), or all of fewer, and their columns."""
    if block.shape[1] < 2 * k * GROUP:
        return block.topk(min(k, block.shape[1]), dim=1)
    # The k-th largest maximum of a group is reached by k entries, one in each of their groups.
    groups, maxima = _groups(block)
    bound = maxima.topk(k, dim=1).values[:, -1:]
    # Of a collapsed network all similarities are alike, and all of them reach the bound.
    if (maxima >= bound).sum() > 2 * k * len(block):
        return block.topk(k, dim=1)
    below = torch.nextafter(bound, torch.full_like(bound, -torch.inf))
    rows, places, values = _above(groups, maxima, below)
    values, places = _as_rows(rows, places, values, len(block))
    values, order = values.topk(k, dim=1)
    return values, places.gather(1, order)


def _groups(block: Tensor) -> tuple[Tensor, Tensor]:
    """A block (Q, N) in groups of neighbours (Q, G, 32), the last filled up, and their maxima."""
    missing = -block.shape[1] % GROUP
    padded = functional.pad(block, (0, missing), value=-torch.inf) if missing else block
    groups = padded.unflatten(1, (-1, GROUP))
    return groups, groups.amax(-1)


def _above(groups: Tensor, maxima: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the entries of groups (Q, G, 32) with maxima (Q, G) above thresholds (Q, 1).

    Returns:
        Rows, columns and values, row by row.
    """
    hit = (maxima > threshold).flatten().nonzero().squeeze(1)
    rows = hit // groups.shape[1]
    members = groups.flatten(0, 1).index_select(0, hit)
    found = (members > threshold.index_select(0, rows)).flatten().nonzero().squeeze(1)
    which = found // GROUP
    rows = rows.index_select(0, which)
    places = hit.index_select(0, which) * GROUP + found % GROUP
    return rows, places - rows * (groups.shape[1] * GROUP), members.flatten()[found]


def _as_rows(rows: Tensor, indices: Tensor, values: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Sorts entries by row: values and indices (Q, M), as many as the longest row has.

    The order within a row is kept; what is missing is minus infinity.
    """
    order = rows.argsort(stable=True)
    rows = rows[order]
    counts = rows.bincount(minlength=num_rows)
    column = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    shape = (num_rows, int(counts.max()))
    by_row = values.new_full(shape, -torch.inf)
    by_row[rows, column] = values[order]
    places = indices.new_zeros(shape)
    places[rows, column] = indices[order]
    return by_row, places


def unit_rows(features: Features, start: int, stop: int, out: Tensor | None = None) -> Tensor:
    """Reads features (N, D) from ``start`` to ``stop`` and gives them length 1.

    Args:
        features: Features (N, D).
        start: First row.
        stop: Row after the last, or beyond the end.
        out: Tensor that is resized for the result and sets its device and precision; by default
            those of the features.

    Returns:
        Features (stop - start, D), in float32 or float64; one of zeros stays as it is.

    Raises:
        ValueError: If a feature is not finite.
    """
    rows = features[start:stop]
    if isinstance(rows, np.ndarray):
        rows = torch.from_numpy(np.array(rows))  # a copy: mapped files are read-only
    rows = at_least_float32(rows)
    if out is not None:
        rows = rows.to(out)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    finite = length.isfinite()
    if not finite.all():
        place = start + int(finite.flatten().logical_not().nonzero()[0])
        raise ValueError(
            f"The feature at row {place} has entries that are not finite, so it has no neighbours. "
            "Look at the network's weights: training may have diverged, or a file be damaged."
        )
    length = length.clamp_min(1e-12)
    return rows / length if out is None else torch.div(rows, length, out=out.resize_(rows.shape))


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

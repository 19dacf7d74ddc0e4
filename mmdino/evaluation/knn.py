"""Weighted k-nearest-neighbour classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmdino.evaluation.protocol import KS, TEMPERATURE
from mmdino.models.layers import at_least_float32

MAX_LABEL = 10**6
"""Votes have a column for each label, which an absurd one must not make."""

QUERY_CHUNK = 1024
CPU_BANK_CHUNK, BANK_CHUNK = 16384, 65536
CACHED_COLUMNS = 4096
GROUP = 32
FIRST_GROUP = 8
FIRST_ROWS = 256
"""On a CPU, queries that are compared with the first features at a time."""


class Features(Protocol):
    """Features (N, D) that are read a slice at a time: a tensor, an array or a feature bank."""

    def __len__(self) -> int:
        """Returns the number N of features."""

    def __getitem__(self, rows: slice) -> Tensor | np.ndarray:
        """Returns some of the features."""


def check_knn_options(ks: Sequence[int], temperature: float) -> None:
    """Checks numbers of neighbours and the temperature of their votes.

    Raises:
        ValueError: If there is no number, or one is out of range.
    """
    if not ks or not all(
        isinstance(k, Integral) and not isinstance(k, bool) and k >= 1 for k in ks
    ):
        raise ValueError(
            f"invalid k={ks!r} of k-NN: expected one or more integers of at least 1, such as 20."
        )
    if (
        not isinstance(temperature, Real)
        or isinstance(temperature, bool)
        or not 0 < temperature < math.inf
    ):
        raise ValueError(
            f"invalid temperature={temperature!r} of k-NN: expected a finite number above 0. The "
            f"paper's is {TEMPERATURE}."
        )


def unknown_labels(labels: Tensor, bank_labels: Tensor) -> str:
    """Says how many images have labels that no feature of the bank has; empty if none.

    Args:
        labels: Classes (Q,) of the images that are tested.
        bank_labels: Classes (N,) of the bank.
    """
    missing = ~torch.isin(labels, bank_labels)
    if not missing.any():
        return ""
    classes = labels[missing].unique().tolist()
    named = ", ".join(map(str, classes[:5])) + (", ..." if len(classes) > 5 else "")
    return (
        f"{int(missing.sum())} of {len(labels)} test images have labels that the bank lacks "
        f"({named}): these can never be right."
    )


@torch.no_grad()
def nearest_neighbours(
    queries: Features,
    bank: Features,
    k: int,
    query_chunk: int = QUERY_CHUNK,
    bank_chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Finds the k bank features of largest cosine similarity to each query.

    The bank is read and normalised once, chunk by chunk, so one that is mapped from a file need not
    fit into memory. In memory are the queries, a chunk, a block of similarities and the current
    best k of each query.

    Args:
        queries: Features (Q, D), of any length.
        bank: Features (N, D), of any length; compared on the device and in the precision of the
            queries, but at least in float32.
        k: Number of neighbours, at most N.
        query_chunk: Queries per block of similarities.
        bank_chunk: Bank features read at a time; by default 16384 on the CPU and 65536 on
            accelerators.

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
    # Buffers are reused: allocating memory takes longer than filling it.
    buffer = blocks[0].queries.new_empty(max(query_chunk * step, bank_chunk))
    part_buffer = torch.empty_like(blocks[0].queries[:0])
    for start in range(0, len(bank), bank_chunk):
        part = unit_rows(bank, start, start + bank_chunk, out=part_buffer)
        if part.shape[1] != blocks[0].queries.shape[1]:
            raise ValueError(
                f"k-NN got queries of width {blocks[0].queries.shape[1]} and a bank of width "
                f"{part.shape[1]}. Compute both with the same network."
            )
        for block in blocks:
            if start == 0:
                block.start(part, buffer)
                continue
            for offset in range(0, len(part), step):
                block.compare_with(part[offset : offset + step], start + offset, buffer)
    found = [block.finish() for block in blocks]
    similarities, indices = zip(*found, strict=True)
    return torch.cat(similarities), torch.cat(indices)


def nearest_others(features: Tensor, k: int, queries: int | None = None) -> tuple[Tensor, Tensor]:
    """Finds the k nearest other features of features.

    Args:
        features: Features (N, D).
        k: Number of neighbours, less than N.
        queries: Number of features, the first ones, whose neighbours are wanted; None for all.

    Returns:
        Similarities and indices (Q, k), the most similar first.

    Raises:
        ValueError: If a feature is not finite.
    """
    similarity, index = nearest_neighbours(features[:queries], features, k + 1)
    # A feature is its own nearest neighbour, unless copies of it tie with it.
    itself = torch.arange(len(index), device=index.device)[:, None]
    others = (index != itself).int().argsort(dim=1, descending=True, stable=True)[:, :k]
    return similarity.gather(1, others), index.gather(1, others)


def default_bank_chunk(device: torch.device) -> int:
    """Returns the number of bank features that are read at a time."""
    return CPU_BANK_CHUNK if device.type == "cpu" else BANK_CHUNK


def columns_at_once(device: torch.device, bank_chunk: int) -> int:
    """Returns the number of bank features that queries are compared with at a time.

    On a CPU a block of similarities should fit into the cache for the selection that follows.
    """
    return min(CACHED_COLUMNS, bank_chunk) if device.type == "cpu" else bank_chunk


class _Neighbours:
    """The current best k of some queries (Q, D).

    A top-k selection over all similarities costs more than computing them, and almost none of them
    is among the best k. Groups whose maximum is below the current k-th best are therefore skipped;
    entries above it are collected, and merged by top-k once there are enough of them.
    """

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries
        self.k = k
        self.similarities = queries.new_empty(len(queries), 0)
        self.indices = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._num_pending = 0

    def start(self, bank: Tensor, buffer: Tensor) -> None:
        """Compares with the first features (N, D) of the bank, of length 1.

        Args:
            bank: Many features at once, so that there are enough groups for a good bound.
            buffer: Memory for similarities; its size limits the queries compared at a time.
        """
        rows = max(1, len(buffer) // len(bank))
        if bank.device.type == "cpu":
            rows = min(rows, FIRST_ROWS)
        found = [
            _best(_similarities(queries, bank, buffer), self.k)
            for queries in self.queries.split(rows)
        ]
        self.similarities, self.indices = (torch.cat(parts) for parts in zip(*found, strict=True))

    def compare_with(self, bank: Tensor, first_index: int, buffer: Tensor) -> None:
        """Compares with more features (N, D) of the bank.

        Args:
            bank: Features of length 1.
            first_index: Index of the first of them.
            buffer: Memory for Q * N similarities.
        """
        block = _similarities(self.queries, bank, buffer)
        if self.similarities.shape[1] < self.k:
            values, places = _best(block, self.k)
            self._merge(values, places + first_index)
            return
        rows, places, values = _above(*_groups(block), self.similarities[:, -1:])
        self._pending.append((rows, places + first_index, values))
        self._num_pending += len(rows)
        if 2 * self._num_pending > self.similarities.numel():
            self._merge_pending()

    def finish(self) -> tuple[Tensor, Tensor]:
        """Returns similarities and indices (Q, k), the most similar first."""
        self._merge_pending()
        return self.similarities, self.indices

    def _merge_pending(self) -> None:
        if self._num_pending:
            entries = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
            self._pending, self._num_pending = [], 0
            self._merge(*_as_rows(*entries, len(self.queries)))

    def _merge(self, values: Tensor, indices: Tensor) -> None:
        values = torch.cat([self.similarities, values], dim=1)
        self.similarities, order = _largest(values, self.k)
        self.indices = torch.cat([self.indices, indices], dim=1).gather(1, order)


def _similarities(queries: Tensor, bank: Tensor, buffer: Tensor) -> Tensor:
    out = buffer[: len(queries) * len(bank)].view(len(queries), len(bank))
    return torch.mm(queries, bank.T, out=out)


def _best(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest entries of each row of a block (Q, N), at most N, and their columns.

    They are among the k groups of columns with the largest maxima, and the columns left over.
    """
    columns = block.shape[1] // FIRST_GROUP
    if columns < 2 * k:
        return _largest(block, k)
    # A group has every N / 8th column: maxima over rows of such columns take a fourth of the time.
    grouped = columns * FIRST_GROUP
    groups = block[:, :grouped].unflatten(1, (FIRST_GROUP, columns))
    which = _places_of_largest(groups.amax(1), k)[:, None].expand(-1, FIRST_GROUP, -1)
    places = which + columns * torch.arange(FIRST_GROUP, device=block.device)[:, None]
    values, places = groups.gather(2, which).flatten(1), places.flatten(1)
    if grouped < block.shape[1]:
        rest = torch.arange(grouped, block.shape[1], device=block.device)
        values = torch.cat([values, block[:, grouped:]], dim=1)
        places = torch.cat([places, rest.expand(len(block), -1)], dim=1)
    values, order = _largest(values, k)
    return values, places.gather(1, order)


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest of each row of values (Q, N), at most N, in order, and their places."""
    if values.device.type != "cpu":
        return values.topk(min(k, values.shape[1]), dim=1)
    places = _places_of_largest(values, k)
    # NumPy sorts short rows in a third of the time that torch takes.
    order = torch.from_numpy(np.argsort(-values.gather(1, places).numpy(), axis=1))
    places = places.gather(1, order)
    return values.gather(1, places), places


def _places_of_largest(values: Tensor, k: int) -> Tensor:
    """Returns the places (Q, k) of the k largest of each row of values (Q, N), in any order."""
    if k >= values.shape[1]:
        return torch.arange(values.shape[1], device=values.device).repeat(len(values), 1)
    if values.device.type != "cpu":
        return values.topk(k, dim=1, sorted=False).indices
    # NumPy partitions in less than half the time of torch's topk.
    return torch.from_numpy(np.argpartition(values.numpy(), -k, axis=1)[:, -k:])


def _groups(block: Tensor) -> tuple[Tensor, Tensor]:
    """Splits a block (Q, N) into groups (Q, G, 32), the last padded, and computes their maxima."""
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
    """Arranges entries by row, as values and indices (Q, M); M is the most that a row has.

    The order within a row is kept; rows are padded with minus infinity.
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
    """Reads the rows ``start`` to ``stop`` of features (N, D) and L2-normalises them.

    Args:
        features: Features (N, D).
        start: First row.
        stop: Row after the last; may be beyond the end.
        out: Tensor that is resized for the result and sets its device and precision; by default
            those of the features.

    Returns:
        Features (stop - start, D), in float32 or float64; a feature of zeros stays zero.

    Raises:
        ValueError: If a feature is not finite, or is no vector.
    """
    rows = features[start:stop]
    if isinstance(rows, np.ndarray):
        rows = torch.from_numpy(np.array(rows))  # a copy: mapped files are read-only
    if rows.dim() != 2:
        raise ValueError(f"k-NN needs features (N, D), got rows of shape {tuple(rows.shape)}.")
    rows = at_least_float32(rows)
    if out is not None:
        rows = rows.to(out)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    finite = length.isfinite()
    if not finite.all():
        place = start + int(finite.flatten().logical_not().nonzero()[0])
        raise ValueError(
            f"The features are not finite: the first such is at row {place}. Check the network's "
            "weights: training may have diverged, or a file may be damaged."
        )
    length = length.clamp_min(1e-12)
    return rows / length if out is None else torch.div(rows, length, out=out.resize_(rows.shape))


@torch.no_grad()
def vote(similarities: Tensor, labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Sums the votes of the neighbours: each adds exp(similarity / temperature) to its class.

    Args:
        similarities: Similarities (Q, k).
        labels: Classes (Q, k) of the neighbours.
        num_classes: Number C of classes.
        temperature: Temperature of the votes.

    Returns:
        Votes (Q, C), divided by that of the most similar neighbour: below a temperature of 0.011
        they would exceed float32.
    """
    votes = torch.zeros(len(similarities), num_classes, device=similarities.device)
    relative = similarities - similarities.amax(1, keepdim=True)
    weights = (relative / temperature).exp().to(votes.dtype)
    return votes.scatter_add_(1, labels, weights)


@torch.no_grad()
def knn_accuracy(
    queries: Features,
    query_labels: Tensor,
    bank: Features,
    bank_labels: Tensor,
    ks: tuple[int, ...] = KS,
    temperature: float = TEMPERATURE,
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
        For each k, top-1 and top-5 in percent. With fewer than five classes or neighbours, top-5
        counts the queries whose class got any vote.

    Raises:
        ValueError: If there are no features, one is not finite, widths differ, an option is out of
            range, or labels are missing or no classes.
    """
    check_knn_options(ks, temperature)
    _check_features("queries", queries, query_labels)
    _check_features("bank", bank, bank_labels)
    num_classes = max(int(query_labels.max()), int(bank_labels.max())) + 1
    ks = tuple(dict.fromkeys(ks))  # counted once each
    similarities, indices = nearest_neighbours(queries, bank, min(max(ks), len(bank)))
    labels = bank_labels.to(indices.device)[indices]
    target = query_labels.to(indices.device).unsqueeze(1)
    hits = {k: [0, 0] for k in ks}
    # In blocks: the votes of 50,000 queries for 1000 classes are as large as their features.
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


def _check_features(name: str, features: Features, labels: Tensor) -> None:
    if not len(features):
        raise ValueError(f"k-NN got no {name}: the data set, or its loader, is empty.")
    if len(features) != len(labels):
        raise ValueError(
            f"k-NN got {len(features)} features and {len(labels)} labels of the {name}: expected "
            "one label for each."
        )
    if labels.dim() != 1 or labels.is_floating_point() or labels.min() < 0:
        raise ValueError(
            f"k-NN needs labels of the {name} of shape (N,), integers of at least 0, got "
            f"{labels.dtype} of shape {tuple(labels.shape)} and minimum {labels.min().item()}."
        )
    if labels.max() > MAX_LABEL:
        raise ValueError(
            f"k-NN got the label {labels.max().item()} of the {name}: expected at most {MAX_LABEL}."
            " Number the classes from 0."
        )

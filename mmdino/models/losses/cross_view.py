"""Pairs of views, their checks, and cross-entropy and cosine over them as plain functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast

Pairs = Sequence[tuple[int, int]]
"""Pairs of a target view, of the teacher, and a source view, of the student."""


def view_pairs(num_views: int, num_targets: int) -> list[tuple[int, int]]:
    """Pairs each target view with every other view (equation 3 of Caron et al. 2021).

    Args:
        num_views: Number V of student views, the global ones first.
        num_targets: Number G of teacher views, which are the first G of them.

    Returns:
        The G * (V - 1) pairs (target view, source view).
    """
    return [
        (target, source)
        for target in range(num_targets)
        for source in range(num_views)
        if target != source
    ]


def unordered(pairs: Pairs) -> Counter[tuple[int, int]]:
    """Counts how often two views are a pair, in either order, for losses that are symmetric."""
    return Counter((min(pair), max(pair)) for pair in pairs)


def check_views(owner: str, student: Tensor, teacher: Tensor) -> None:
    """Checks that a loss can compare outputs.

    Args:
        owner: Name of the loss.
        student: Outputs of the student (V, B, D).
        teacher: Outputs of the teacher (G, B, D).

    Raises:
        ValueError: If they have not three dimensions, there are fewer than two views, more of the
            teacher than of the student, or numbers of images or widths differ.
    """
    shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
    if student.dim() != 3 or teacher.dim() != 3:
        raise ValueError(
            f"{owner} takes student outputs (views, batch, width) and teacher outputs (global "
            f"views, batch, width), but got shapes {shapes}."
        )
    check_view_counts(owner, len(student), len(teacher))
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(f"{owner} got different numbers of images, in shapes {shapes}.")
    if student.shape[2] != teacher.shape[2]:
        raise ValueError(
            f"{owner} got student outputs of width {student.shape[2]} and teacher outputs of width "
            f"{teacher.shape[2]}: a head that does not fit. Set the out_channels of the predictor "
            "to those of the head."
        )


def check_view_counts(owner: str, num_student: int, num_teacher: int) -> None:
    """Checks that there are views to compare.

    Args:
        owner: Name of the loss.
        num_student: Number of views of the student.
        num_teacher: Number of views of the teacher.

    Raises:
        ValueError: If there are fewer than two, or more of the teacher than of the student.
    """
    if num_student < 2 or not 1 <= num_teacher <= num_student:
        raise ValueError(
            f"{owner} got {num_student} student and {num_teacher} teacher views; it needs at "
            "least two views, the first of which the teacher sees too. Add view groups to "
            "MultiCropTransform."
        )


def check_images(owner: str, num_images: int) -> None:
    """Checks that a loss that compares images has two.

    Args:
        owner: Name of the loss.
        num_images: Number of images of all ranks.

    Raises:
        ValueError: If there is one.
    """
    if num_images < 2:
        raise ValueError(
            f"{owner} compares the images of a batch, but the batch of all ranks has "
            f"{num_images}. Set train_dataloader.batch_size to 2 at least, or, if it is the last "
            "batch of an epoch, train_dataloader.drop_last=True."
        )


def targets_by_source(pairs: Pairs) -> dict[int, tuple[int, ...]]:
    """Returns the target views of each source view."""
    grouped: dict[int, list[int]] = {}
    for target, source in pairs:
        grouped.setdefault(source, []).append(target)
    return {source: tuple(targets) for source, targets in sorted(grouped.items())}


def summed_targets(targets: Tensor, pairs: Pairs) -> Iterator[tuple[int, Tensor, int]]:
    """Adds up the targets of each source view.

    Cross-entropy is linear in the target, so that each source view is read once, not once a pair.
    Source views with the same targets share one sum.

    Args:
        targets: Distributions (G, B, K) of the teacher.
        pairs: Pairs (target view, source view).

    Yields:
        A source view, the sum (B, K) of its targets, and their number.
    """
    sums: dict[tuple[int, ...], Tensor] = {}
    for source, indices in targets_by_source(pairs).items():
        if indices not in sums:
            sums[indices] = _sum(targets[index] for index in indices)
        yield source, sums[indices], len(indices)


def cross_view_loss(student_log_probs: Tensor, targets: Tensor, pairs: Pairs) -> Tensor:
    """Mean cross-entropy over pairs of views.

    Args:
        student_log_probs: Log-probabilities (V, B, K).
        targets: Distributions of the teacher (G, B, K).
        pairs: Pairs (target view, source view).

    Returns:
        The mean over the pairs and the batch, in nats.
    """
    total = student_log_probs.new_zeros(())
    for source, target, _ in summed_targets(targets, pairs):
        total = total - (target * student_log_probs[source]).sum()
    return total / (len(pairs) * student_log_probs.shape[1])


def mean_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean cosine over :func:`view_pairs` and images, in float32 at least.

    Args:
        student: Outputs of the student (V, B, D).
        teacher: Outputs of the teacher (G, B, D), the targets.

    Returns:
        The mean, with gradients to both.
    """
    with no_autocast(student):
        sources, targets = (
            functional.normalize(at_least_float32(outputs), dim=-1)
            for outputs in (student, teacher)
        )
        # Like the cross-entropy, a cosine of unit vectors is a product of source and target.
        return -cross_view_loss(sources, targets, view_pairs(len(student), len(teacher)))


@torch.no_grad()
def entropy(log_probs: Tensor) -> Tensor:
    """Mean entropy in nats of distributions given by their logarithms (..., K)."""
    return -(log_probs.exp() * log_probs).sum(-1).mean()


def prototype_metrics(
    loss: Tensor, teacher_entropy: Tensor, argmax: Tensor, num_prototypes: int
) -> dict[str, Tensor]:
    """What a cross-entropy over prototypes returns: the loss, and metrics that show a collapse.

    Args:
        loss: Mean cross-entropy () over pairs of views, in nats.
        teacher_entropy: Mean entropy () of the targets, in nats.
        argmax: Prototype of each target (G, B).
        num_prototypes: Number K of prototypes.

    Returns:
        ``loss``; ``ce_over_lnk``, the loss over ln K, which is 1 when the output ignores the image;
        ``teacher_entropy`` and its ``entropy_bound`` ln K in nats; ``kl``, KL(teacher||student) in
        nats; ``used_prototypes``, the number of different prototypes that are the argmax of some
        target, over the largest number possible.
    """
    value = loss.detach()
    bound = math.log(num_prototypes)
    possible = min(argmax.numel(), num_prototypes)
    # Not by unique(), whose size the host would have to wait for.
    seen = value.new_zeros(num_prototypes).index_fill_(0, argmax.flatten(), 1)
    return {
        "loss": loss,
        "ce_over_lnk": value / bound,
        "teacher_entropy": teacher_entropy,
        "entropy_bound": torch.full_like(value, bound),
        # Each target view is in the same number of pairs, so the mean over pairs of its entropy is
        # the mean over views, and the difference is exactly the mean divergence.
        "kl": value - teacher_entropy,
        "used_prototypes": seen.sum() / possible,
    }


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    first, *rest = tensors
    for tensor in rest:
        first = first + tensor
    return first

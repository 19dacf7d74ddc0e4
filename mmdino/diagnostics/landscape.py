"""Loss along filter-normalised random directions (Li et al. 2018, arXiv 1712.09913, section 4)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Direction = Mapping[str, Tensor]


def moved_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that a landscape moves: those that are trained and have two axes.

    Biases, norms and scales have one axis and stay, as in the paper.
    """
    named = model.named_parameters()
    return {name: weight for name, weight in named if weight.requires_grad and weight.dim() > 1}


def random_direction(parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Draws a direction whose filters have the norms of the weights' filters.

    A filter is an index of axis 0. The draws go by seed, name and shape, so two networks that share
    a parameter's name and shape share its direction, up to the norms.

    Args:
        parameters: Weights of two or more axes, by name.
        seed: Seed.

    Returns:
        By name, a tensor of the weight's shape, type and device.

    Raises:
        ValueError: If a weight has fewer than two axes.
    """
    direction = {}
    for name, weight in parameters.items():
        if weight.dim() < 2:
            raise ValueError(f"{name} has {weight.dim()} axis, so no filters. Leave it out.")
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        weights = weight.detach().double().cpu()
        scale = weights.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
        drawn = drawn * scale.view(-1, *[1] * (weight.dim() - 1))
        direction[name] = drawn.to(weight.device, weight.dtype)
    return direction


@contextmanager
def moved(
    parameters: Mapping[str, Tensor], directions: Sequence[Direction], steps: Sequence[float]
) -> Iterator[None]:
    """Moves parameters in place for the block, and puts them back bit by bit.

    Args:
        parameters: Weights by name.
        directions: Directions; what a direction has no entry for is not moved along it.
        steps: How far to go along each.

    Raises:
        ValueError: If a direction has a name or shape that the parameters do not have.
    """
    for direction in directions:
        wrong = [
            n for n, d in direction.items() if n not in parameters or d.shape != parameters[n].shape
        ]
        if wrong:
            raise ValueError(
                f"A direction does not fit the network: {', '.join(wrong[:5])} is missing there or "
                "of another shape. Draw it for this network."
            )
    names = {name for direction in directions for name in direction}
    start = {name: parameters[name].detach().clone() for name in names}
    try:
        with torch.no_grad():
            for direction, step in zip(directions, steps, strict=True):
                for name, towards in direction.items():
                    parameters[name].add_(towards.to(parameters[name]), alpha=step)
        yield
    finally:
        with torch.no_grad():
            for name, weight in start.items():
                parameters[name].copy_(weight)


def loss_surface(
    parameters: Mapping[str, Tensor],
    directions: Sequence[Direction],
    steps: Sequence[float],
    evaluate: Callable[[], Tensor | float],
) -> Tensor:
    """Evaluates a loss on a grid of points around the weights.

    Args:
        parameters: Weights by name; they are the same afterwards.
        directions: One direction for a line, two for a plane.
        steps: The K steps along each direction.
        evaluate: Returns the loss at the current weights.

    Returns:
        Losses (K,) or (K, K), float64; the first axis is that of the first direction.
    """
    losses = []
    for coefficients in product(steps, repeat=len(directions)):
        with moved(parameters, directions, coefficients), torch.no_grad():
            losses.append(float(evaluate()))
    return torch.tensor(losses, dtype=torch.float64).view([len(steps)] * len(directions))


def fraction_near_minimum(losses: Tensor, within: float) -> float:
    """Returns the fraction of points whose loss is within a distance of the smallest.

    Args:
        losses: Losses of any shape; a point that is not finite is not near.
        within: The distance.

    Raises:
        ValueError: If no loss is finite.
    """
    finite = losses.isfinite()
    if not finite.any():
        raise ValueError("No loss of the landscape is finite: the network may have diverged.")
    near = finite & (losses <= losses[finite].min() + within)
    return near.double().mean().item()


def has_batch_norm(model: nn.Module) -> bool:
    """Returns whether a network has a batch norm with running statistics."""
    return bool(_batch_norms(model))


def reestimate_batch_norm(model: nn.Module, losses_of: Callable[[], Iterable[object]]) -> None:
    """Sets the running statistics of batch norms to the mean over batches at the current weights.

    Everything else stays in eval mode.

    Args:
        model: The network in eval mode.
        losses_of: Passes each batch through the network and its head, one for each element that it
            yields.
    """
    norms = _batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None averages over the batches with equal weight.
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for _ in losses_of():
            pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.track_running_stats]

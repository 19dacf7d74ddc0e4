"""The check of a number that a component is given."""

from __future__ import annotations

import math
from numbers import Integral, Real


def require_number(
    owner: str,
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
    advice: str = "",
) -> None:
    """Checks that an argument is a finite number within bounds.

    Args:
        owner: Who got it, such as the name of a class.
        name: Name of the argument.
        value: Its value.
        least: Smallest value that is allowed.
        most: Largest value that is allowed.
        above: What it must be above.
        below: What it must be below.
        whole: Whether it must be an int.
        advice: A sentence that ends the message.

    Raises:
        TypeError: If it is no number, or no int where it must be one.
        ValueError: If it is out of bounds, infinite or not a number.
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    limits = [f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
    kind = "a whole number" if whole else "a finite number"
    message = f"{owner} got {name}={value!r}; it must be {' '.join([kind, ' and '.join(limits)])}"
    message = f"{message.rstrip()}. {advice}".rstrip()
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(message)
    if not (math.isfinite(value) and least <= value <= most and above < value < below):
        raise ValueError(message)

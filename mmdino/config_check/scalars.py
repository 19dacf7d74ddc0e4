"""Whether a number or a text of a config is of the type that an argument is annotated with.

Containers, objects and missing annotations allow everything: a false alarm would stop a run that
works.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, Literal, Union

import numpy as np
from torch import Tensor

from mmdino.config_check.arguments import UNKNOWN, Argument
from mmdino.config_check.spelling import did_you_mean, nearest

NUMERIC = (int, float, complex, bool, Tensor, np.ndarray, np.number)
SCALARS = (int, float, bool, str)
NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    complex: "a number",
    Tensor: "a tensor",
    np.ndarray: "an array",
}


def type_problem(argument: Argument, value: Any) -> str | None:
    """Returns what is wrong with the type of a value, None if nothing is.

    Args:
        argument: The argument that it is for.
        value: The value; of containers only their kind and length.
    """
    if argument.hint is UNKNOWN or (value is None and not argument.is_exact):
        return None
    if argument.counts and (problem := _length_problem(argument.hint, value)):
        return problem
    if argument.is_exact and isinstance(value, (list, tuple, Mapping)):
        return _container_problem(argument.hint, value)
    if value is not None and not isinstance(value, (str, Real)):
        return None
    if type(value) is type(argument.default) or value is argument.default:
        return None if not is_choice(argument.hint) else _choice_problem(argument.hint, value)
    allowed = list(alternatives(argument.hint))
    if any(_fits(hint, value, argument.is_exact) for hint in allowed):
        return None
    if all(typing.get_origin(hint) is Literal or hint is type(None) for hint in allowed):
        return _choice_problem(argument.hint, value)
    names = dict.fromkeys(_name(hint) for hint in allowed if hint is not type(None))
    return f"expected {' or '.join(names)}"


def _container_problem(hint: Any, value: Any) -> str | None:
    """What is wrong with a container, where all that a type allows are numbers, texts or dicts."""
    members = [member for member in alternatives(hint) if member is not type(None)]
    simple = SCALARS if isinstance(value, Mapping) else (*SCALARS, dict)
    if not all(m in simple or typing.get_origin(m) is Literal for m in members):
        return None
    return f"expected {' or '.join(dict.fromkeys(map(_name, members)))}"


def _length_problem(hint: Any, value: Any) -> str | None:
    """What is wrong with the length of a sequence, where all that a type allows are tuples."""
    if not isinstance(value, (list, tuple, Real)):
        return None
    members = [member for member in alternatives(hint) if member is not type(None)]
    lengths = [len(typing.get_args(member)) for member in members]
    if any(typing.get_origin(m) is not tuple or Ellipsis in typing.get_args(m) for m in members):
        return None
    length = None if isinstance(value, Real) else len(value)
    allowed = " or ".join(map(str, dict.fromkeys(lengths)))
    return None if length in lengths else f"expected {allowed} values in a list"


def alternatives(hint: Any) -> Iterator[Any]:
    """Yields the members of a union, of any depth, or the type itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from alternatives(member)
    elif typing.get_origin(hint) is typing.Annotated:
        yield from alternatives(typing.get_args(hint)[0])
    else:
        yield hint


def is_choice(hint: Any) -> bool:
    """Whether all that a type allows are listed values."""
    return all(
        typing.get_origin(member) is Literal or member is type(None)
        for member in alternatives(hint)
    )


def _choice_problem(hint: Any, value: Any) -> str | None:
    choices = [choice for member in alternatives(hint) for choice in typing.get_args(member)]
    if value in choices:
        return None
    texts = [choice for choice in choices if isinstance(choice, str)]
    guess = did_you_mean(map(repr, nearest(value, texts))) if isinstance(value, str) else ""
    return f"expected one of {', '.join(map(repr, choices))}{guess}"


def _fits(hint: Any, value: Any, is_exact: bool) -> bool:
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if value is None or hint is Any:
        return hint in (None, type(None), Any, object)
    if isinstance(value, str):
        return not _is_numeric(hint) and not (is_exact and hint is dict)
    if not is_exact:
        return True
    if hint is bool:
        return isinstance(value, bool) or value in (0, 1)
    if hint is int:
        return not isinstance(value, bool) and (not _is_finite(value) or value == int(value))
    if hint is float:
        return not isinstance(value, bool)
    # A number is refused only where all that is allowed are other numbers.
    return hint not in (type(None), str)


def _is_finite(value: Real) -> bool:
    return bool(np.isfinite(value))


def _is_numeric(hint: Any) -> bool:
    """Whether a type has only numbers, alone or in a container."""
    if hint is type(None):
        return True
    if typing.get_origin(hint) in (tuple, list, set) or _is_abstract_sequence(hint):
        members = [m for m in typing.get_args(hint) if m is not Ellipsis]
        return bool(members) and all(
            _is_numeric(part) for member in members for part in alternatives(member)
        )
    return isinstance(hint, type) and issubclass(hint, NUMERIC)


def _is_abstract_sequence(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return getattr(origin, "__module__", None) == "collections.abc" and getattr(
        origin, "__name__", ""
    ) in ("Sequence", "Iterable", "Collection")


def _name(hint: Any) -> str:
    if hint in NAMES:
        return NAMES[hint]
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if hint in (str, dict):
        return "a text" if hint is str else "a dict"
    return "numbers" if _is_numeric(hint) else str(getattr(hint, "__name__", hint))

"""What a class or function takes by keyword, through the ``**kwargs`` of its constructors."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from torch import nn

from mmdino.config_check.source import forwarding

UNKNOWN = inspect.Parameter.empty


@dataclass(frozen=True)
class Argument:
    """One argument: its annotation and default, ``UNKNOWN`` where it has none."""

    hint: Any = UNKNOWN
    default: Any = UNKNOWN
    required: bool = False
    is_exact: bool = False
    """Whether the annotation means what it says: other projects write int where they take any
    number, and str where they take either."""
    counts: bool = False
    """Whether the lengths of tuples in the annotation mean what they say."""


@dataclass(frozen=True)
class Arguments:
    """All arguments by name."""

    known: Mapping[str, Argument] = field(default_factory=dict)
    is_open: bool = False
    """Whether there may be others, of whose names nothing is known."""


@cache
def arguments_of(obj: Callable) -> Arguments:
    """Returns what a class or function takes.

    A class whose ``**kwargs`` go to the constructor of its base alone takes what that takes.
    Anything else with ``**kwargs`` is open.
    """
    if inspect.isclass(obj) and obj.__init__ is not object.__init__:
        return _of_constructor(obj, 0)
    try:
        signature = inspect.signature(obj)
    except (ValueError, TypeError):
        return Arguments(is_open=True)
    known, takes_more = _own(signature, obj)
    return Arguments(known, takes_more)


def _of_constructor(cls: type, start: int) -> Arguments:
    """Arguments of the first constructor in the order of inheritance from ``start`` on."""
    order = inspect.getmro(cls)
    place = next(i for i in range(start, len(order)) if "__init__" in vars(order[i]))
    # A Module's takes **kwargs only to refuse them.
    if order[place] in (object, nn.Module):
        return Arguments()
    init = vars(order[place])["__init__"]
    if not inspect.isfunction(init):
        return Arguments(is_open=True)
    known, takes_more = _own(inspect.signature(init), init, skip_first=True)
    # A decorator may take other arguments than what it wraps.
    if hasattr(init, "__wrapped__"):
        return Arguments(known, is_open=True)
    if not takes_more:
        return Arguments(known)
    forwards = forwarding(init)
    if forwards is None:
        return Arguments(known, is_open=True)
    known |= {name: Argument() for name in forwards.read if name not in known}
    if forwards.base is None:
        return Arguments(known, is_open=True)
    following = place + 1
    if forwards.base:
        base = init.__globals__.get(forwards.base)
        if base not in order:
            return Arguments(known, is_open=True)
        following = order.index(base) + forwards.after
    inherited = _of_constructor(cls, following)
    bound = {*list(inherited.known)[: forwards.positional], *forwards.given}
    free = {
        name: value
        for name, value in inherited.known.items()
        if name not in bound and name not in known
    }
    return Arguments(known | free, inherited.is_open)


def _own(
    signature: inspect.Signature, function: Any, skip_first: bool = False
) -> tuple[dict[str, Argument], bool]:
    """A signature's arguments by name, and whether it has ``**kwargs``."""
    hints = _hints(function)
    project = str(getattr(function, "__module__", "")).partition(".")[0]
    is_exact, counts = project == "mmdino", project in ("mmdino", "torch")
    parameters = list(signature.parameters.values())[skip_first:]
    known = {
        p.name: Argument(
            hints.get(p.name, UNKNOWN), p.default, p.default is p.empty, is_exact, counts
        )
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return known, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _hints(function: Any) -> dict[str, Any]:
    found = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        alone = SimpleNamespace(__annotations__={name: hint})
        try:
            found |= typing.get_type_hints(alone, getattr(function, "__globals__", None))
        # An annotation may be any expression, and name what is imported for a type checker alone.
        except (NameError, TypeError, AttributeError, SyntaxError):
            continue
    return found

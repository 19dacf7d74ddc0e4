"""What source code tells of configs: which keys are read from them, and where ``**kwargs`` go.

mmengine and its projects have no schema of their configs; what they read stands in their source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

DICT_METHODS = frozenset(dir(dict)) | {"to_dict", "merge"}
READING_METHODS = ("get", "pop", "setdefault")


@cache
def syntax_tree(obj: Any) -> ast.AST | None:
    """Returns the parsed source of a class or function, None where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(obj)))
    except (OSError, TypeError, SyntaxError):
        return None


@cache
def keys_read(obj: Any, name: str, attributes: bool = True) -> frozenset[str]:
    """Returns the keys that code reads from a dict: ``d["key"]``, ``d.get("key")``, ``d.key``.

    Args:
        obj: A class, whose bases count too, or a function.
        name: Name of the dict: a variable, or an attribute, which may have an underscore before it.
        attributes: Whether ``d.key`` counts.
    """
    sources = inspect.getmro(obj) if inspect.isclass(obj) else (obj,)
    trees = [tree for source in sources if (tree := syntax_tree(source)) is not None]
    found = {key for tree in trees for node in ast.walk(tree) for key in _read_by(node, name)}
    if attributes:
        found |= {
            node.attr
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and _is_named(node.value, name)
        }
    return frozenset(found) - DICT_METHODS


def _read_by(node: ast.AST, name: str) -> Iterator[str]:
    key = None
    if isinstance(node, ast.Subscript) and _is_named(node.value, name):
        key = node.slice
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        key = node.left if _is_named(node.comparators[0], name) else None
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        reads = node.func.attr in READING_METHODS and _is_named(node.func.value, name)
        key = node.args[0] if reads else None
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        yield key.value


def _is_named(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name
    return isinstance(node, ast.Attribute) and node.attr in (name, f"_{name}")


@cache
def default_type(cls: type, argument: str) -> str | None:
    """Returns the type that a class gives to a config without one, None where there is none.

    It is written ``argument.setdefault("type", "X")`` or ``{"type": "X", **argument}``.
    """
    for base in inspect.getmro(cls):
        init = vars(base).get("__init__")
        tree = syntax_tree(init) if inspect.isfunction(init) else None
        for node in ast.walk(tree) if tree is not None else ():
            found = _type_given_by(node, argument)
            if isinstance(found, ast.Constant):
                return found.value
    return None


def _type_given_by(node: ast.AST, argument: str) -> ast.AST | None:
    if isinstance(node, ast.Call) and len(node.args) == 2:
        is_setdefault = (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "setdefault"
            and _is_named(node.func.value, argument)
        )
        key, value = node.args
        named = isinstance(key, ast.Constant) and key.value == "type"
        return value if is_setdefault and named else None
    if isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
        spread = [part for key, value in pairs if key is None for part in ast.walk(value)]
        if any(_is_named(part, argument) for part in spread):
            for key, value in pairs:
                if isinstance(key, ast.Constant) and key.value == "type":
                    return value
    return None


@dataclass(frozen=True)
class Forwarding:
    """Where a constructor's ``**kwargs`` go."""

    read: frozenset[str] = frozenset()
    """Keys that it reads from them by name."""
    base: str | None = None
    """Class whose constructor gets them: "" for that of ``super()``, None for no class. Of
    ``super(X, self)`` it is "X", and :attr:`after` is true."""
    after: bool = False
    """Whether the constructor is that of the class after ``base`` in the order of inheritance."""
    given: frozenset[str] = frozenset()
    """Arguments that the base gets besides, by keyword."""
    positional: int = 0
    """Number of arguments that the base gets by position."""


@cache
def forwarding(init: Any) -> Forwarding | None:
    """Returns where the ``**kwargs`` of a constructor go, None if that cannot be told."""
    (name,) = [
        parameter.name
        for parameter in inspect.signature(init).parameters.values()
        if parameter.kind is parameter.VAR_KEYWORD
    ]
    tree = syntax_tree(init)
    if tree is None:
        return None
    nodes = list(ast.walk(tree))
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in nodes)
    read = frozenset(key for node in nodes for key in _read_by(node, name))
    reads = sum(bool(list(_read_by(node, name))) for node in nodes)
    calls = [
        node
        for node in nodes
        if isinstance(node, ast.Call)
        and any(word.arg is None and _is_named(word.value, name) for word in node.keywords)
    ]
    bases = {_base_of(call) for call in calls}
    if uses != reads + len(calls) or len(bases) > 1 or None in bases:
        return None
    if not bases:
        return Forwarding(read)
    given = frozenset.intersection(
        *[frozenset(word.arg for word in call.keywords if word.arg) for call in calls]
    )
    ((base, after),) = bases
    explicit = min(len(list(takewhile(_is_plain, call.args))) for call in calls)
    # The constructor of a class that is named gets the object itself first.
    positional = explicit - (base != "" and not after)
    return Forwarding(read, base, after, given, positional)


def _is_plain(argument: ast.AST) -> bool:
    return not isinstance(argument, ast.Starred)


def _base_of(call: ast.Call) -> tuple[str, bool] | None:
    """``base`` and ``after`` of :class:`Forwarding`; None for a call of another function."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "__init__":
        return None
    owner = call.func.value
    if isinstance(owner, ast.Name):
        return owner.id, False
    if not isinstance(owner, ast.Call) or not isinstance(owner.func, ast.Name):
        return None
    if owner.func.id != "super":
        return None
    if not owner.args:
        return "", False
    return (owner.args[0].id, True) if isinstance(owner.args[0], ast.Name) else None

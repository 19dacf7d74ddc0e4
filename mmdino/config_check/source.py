"""What source code tells of configs: which keys are read from them, and where ``**kwargs`` go.

mmengine and its projects have no schema of their configs; what they read stands in their source.
"""

from __future__ import annotations

import ast
import inspect
import sys
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
    if inspect.isclass(obj) and (tree := _class_in_its_module(obj)) is not None:
        return tree
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(obj)))
    except (OSError, TypeError, SyntaxError):
        return None


def _class_in_its_module(cls: type) -> ast.AST | None:
    """Finds a class in its parsed module, which ``inspect`` would parse for each of its classes.

    None where it is not there once, as classes made in functions or under conditions are not.
    """
    body = _module_body(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = [node for node in body if isinstance(node, ast.ClassDef) and node.name == name]
        if len(found) != 1:
            return None
        body = found[0].body
    return found[0]


@cache
def _module_body(name: str) -> list[ast.stmt]:
    """Returns the statements of a module, none where its source cannot be had."""
    try:
        return ast.parse(inspect.getsource(sys.modules[name])).body
    except (KeyError, OSError, TypeError, SyntaxError):
        return []


@cache
def keys_read(obj: Any, name: str, attributes: bool = True) -> frozenset[str]:
    """Returns the keys that code reads from a dict: ``d["key"]``, ``d.get("key")``, ``d.key``.

    Args:
        obj: A class, whose bases count too, or a function.
        name: Name of the dict: a variable, or an attribute, which may have an underscore before it.
        attributes: Whether ``d.key`` counts.
    """
    sources = inspect.getmro(obj) if inspect.isclass(obj) else (obj,)
    # A variable has its own name; an attribute may have an underscore before it.
    owners = (name, f".{name}", f"._{name}")
    found: set[str] = set()
    for source in sources:
        keys, members = _all_reads(source)
        for owner in owners:
            found |= keys.get(owner, set())
            if attributes:
                found |= members.get(owner, set())
    return frozenset(found) - DICT_METHODS


@cache
def _all_reads(source: Any) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Returns what a class or function reads from every dict: its keys, and its attributes.

    All at once, since walking through the source of torch's classes takes longest. Dicts that are
    variables go by their name, those that are attributes by a dot and theirs.
    """
    keys: dict[str, set[str]] = {}
    members: dict[str, set[str]] = {}
    tree = syntax_tree(source)
    for node in ast.walk(tree) if tree is not None else ():
        for owner, key in _reads_of(node):
            keys.setdefault(owner, set()).add(key)
        if isinstance(node, ast.Attribute) and (owner := _name_of(node.value)):
            members.setdefault(owner, set()).add(node.attr)
    return keys, members


def _read_by(node: ast.AST, name: str) -> Iterator[str]:
    return (key for owner, key in _reads_of(node) if owner in (name, f".{name}", f"._{name}"))


def _reads_of(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yields the dict, as :func:`_name_of` names it, and the key that a node reads, if any."""
    owner = key = None
    if isinstance(node, ast.Subscript):
        owner, key = node.value, node.slice
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        owner, key = node.comparators[0], node.left
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.args
        and node.func.attr in READING_METHODS
    ):
        owner, key = node.func.value, node.args[0]
    if isinstance(key, ast.Constant) and isinstance(key.value, str) and (name := _name_of(owner)):
        yield name, key.value


def _name_of(node: ast.AST | None) -> str | None:
    """Returns the name of a variable, or a dot and that of an attribute; None for all else."""
    if isinstance(node, ast.Name):
        return node.id
    return f".{node.attr}" if isinstance(node, ast.Attribute) else None


def _is_named(node: ast.AST, name: str) -> bool:
    return _name_of(node) in (name, f".{name}", f"._{name}")


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

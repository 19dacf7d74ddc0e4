"""Configs from their text, without executing it."""

from __future__ import annotations

import ast
from typing import Any

MAX_TEXT = 2**20
"""Characters of the longest config that is parsed."""
SCOPED, UNSCOPED = ("mmdino", "mmpretrain"), "mmcv"
"""Packages whose classes are named with the scope, and that whose classes are named without."""
PARSER_ERRORS = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
"""Errors of Python's parser; the last two for deeply nested text."""


def literal_config(text: str) -> dict[str, Any]:
    """Reads the text of a config as mmengine writes it into checkpoints.

    Args:
        text: Assignments of literals and ``dict(...)`` calls. Any other statement is ignored.

    Returns:
        The values by name, with None for whatever is neither a literal nor a ``dict(...)`` call. An
        empty dict if the text is not Python. Types are named as by :func:`short_type`.

    Raises:
        ValueError: If the text is too long to be a config.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"The config in the file has {len(text)} characters, allowed are {MAX_TEXT}. Extract "
            "the backbone where the file was written."
        )
    try:
        return {
            statement.targets[0].id: _value(statement.value)
            for statement in ast.parse(text).body
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        }
    except PARSER_ERRORS:
        return {}


def short_type(name: Any) -> Any:
    """Returns the name in a registry of a class that a config names with its modules.

    mmengine writes such names, as ``mmdino.models.VisionTransformer``, for the classes that configs
    in its newer style import.

    Args:
        name: The type in a config. What is no such name is returned as it is.
    """
    parts = name.split(".") if isinstance(name, str) else []
    if len(parts) < 3 or parts[0] not in (*SCOPED, UNSCOPED):
        return name
    return parts[-1] if parts[0] == UNSCOPED else f"{parts[0]}.{parts[-1]}"


def _value(node: ast.expr) -> Any:
    """Returns the value of a literal or a ``dict(...)`` call, None for anything else."""
    found = _plain_value(node)
    if isinstance(found, dict) and "type" in found:
        found["type"] = short_type(found["type"])
    return found


def _plain_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if ast.unparse(node.func) != "dict":
            return None
        # mmengine writes dict({...}) if a key is not an identifier.
        merged = {}
        for argument in node.args:
            value = _value(argument)
            merged.update(value if isinstance(value, dict) else {})
        return merged | {word.arg: _value(word.value) for word in node.keywords if word.arg}
    if isinstance(node, ast.Dict):
        return {
            _value(key): _value(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        }
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(element) for element in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None

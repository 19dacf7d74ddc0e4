"""Configs from their text, without executing it."""

from __future__ import annotations

import ast
from typing import Any

MAX_TEXT = 2**20
"""Characters of the longest config that is parsed."""
PARSER_ERRORS = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
"""Errors of Python's parser; the last two for deeply nested text."""


def literal_config(text: str) -> dict[str, Any]:
    """Reads the text of a config as mmengine writes it into checkpoints.

    Args:
        text: Assignments of literals and ``dict(...)`` calls. Any other statement is ignored.

    Returns:
        The values by name, with None for whatever is neither a literal nor a ``dict(...)`` call. An
        empty dict if the text is not Python.

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


def _value(node: ast.expr) -> Any:
    """Returns the value of a literal or a ``dict(...)`` call, None for anything else."""
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

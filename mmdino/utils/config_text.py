"""Configs from their text, without executing it."""

from __future__ import annotations

import ast
from typing import Any


def literal_config(text: str) -> dict[str, Any]:
    """Reads the text of a config as mmengine writes it into checkpoints.

    Args:
        text: Assignments of literals and ``dict(...)`` calls. Any other statement is ignored.

    Returns:
        The values by name, with None for whatever is neither a literal nor a ``dict(...)`` call. An
        empty dict if the text is not Python.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return {
        statement.targets[0].id: _value(statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


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

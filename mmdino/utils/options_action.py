"""Changes to a config on the command line."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Sequence
from typing import Any

DICTS = ("[{", "{'", '{"')
"""How values begin that are dicts or lists of them, which mmengine would take for text."""
BLANK = "\0"
"""Stands for the blanks of a text, which mmengine would remove; no argument contains it."""


class OptionsAction(argparse.Action):
    """mmengine's reading of KEY=VALUE, which fails with a line and not with a traceback.

    Values that are Python's dicts, or lists of them, are read too. Texts keep their blanks, and
    what is in quotes is text.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Reads the options."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for option in values:
            key, is_option, text = option.partition("=")
            if not is_option or not all(key.split(".")):
                parser.error(
                    f"{option_string} {option}: expected KEY=VALUE without spaces around =, such "
                    "as optim_wrapper.optimizer.lr=0.001"
                )
            try:
                options[key] = _read_value(text.strip())
            except (SyntaxError, ValueError):
                parser.error(
                    f"{option_string} {option}: expected a dict or a list of dicts as Python "
                    f"writes them, in quotes for the shell: \"{key}=[{{'type': 'NAME'}}]\""
                )
            # mmengine asserts that brackets are closed.
            except AssertionError as error:
                parser.error(f"{option_string}: {error}")
        setattr(namespace, self.dest, options)


def _read_value(text: str) -> Any:
    """Reads a value without blanks around it.

    Raises:
        SyntaxError, ValueError: If it begins as a dict or a list of dicts, and is none.
        AssertionError: If a bracket is not closed.
    """
    compact = text.replace(" ", "")
    if compact == "{}" or compact.startswith(DICTS):
        return ast.literal_eval(text)
    if _is_quoted(text):
        return text[1:-1]
    # mmengine would read what is in quotes within a list as a number, or split it at commas.
    if text.startswith(("[", "(")) and ("'" in text or '"' in text):
        try:
            found = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            found = None  # Some of its texts have no quotes.
        if isinstance(found, (list, tuple)):
            return found
    # Here, and not above, since --help does not need it.
    from mmengine.config import DictAction

    read, found = DictAction([], "options", nargs="+"), argparse.Namespace()
    # Blanks beside commas and within brackets separate what is in a list.
    marked = re.sub(r"(?<=[\[(,]) +| +(?=[\]),])", "", text).replace(" ", BLANK)
    read(argparse.ArgumentParser(), found, [f"value={marked}"])
    return _with_blanks(found.options["value"])


def _is_quoted(text: str) -> bool:
    """Whether a value is one text in quotes, and not several with commas between them."""
    quote, inner = text[:1], text[1:-1]
    ends = len(text) > 1 and quote in ("'", '"') and text[-1] == quote
    return ends and not (quote in inner and "," in inner)


def _with_blanks(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_blanks, value))
    return value.replace(BLANK, " ") if isinstance(value, str) else value

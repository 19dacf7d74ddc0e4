"""Changes to a config on the command line."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence

DICTS = ("[{", "{'", '{"')
"""How values begin that are dicts or lists of them, which mmengine would take for text."""


class OptionsAction(argparse.Action):
    """mmengine's reading of KEY=VALUE, which fails with a line and not with a traceback.

    Values that are Python's dicts, or lists of them, are read too.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Reads the options."""
        # Here, and not as the base class, since --help does not need it.
        from mmengine.config import DictAction

        plain, dicts = [], {}
        for option in values:
            key, is_option, text = option.partition("=")
            if not is_option or not all(key.split(".")):
                parser.error(
                    f"{option_string} {option}: expected KEY=VALUE without spaces around =, such "
                    "as optim_wrapper.optimizer.lr=0.001"
                )
            if not text.startswith(DICTS):
                plain.append(option)
                continue
            try:
                dicts[key] = ast.literal_eval(text)
            except (SyntaxError, ValueError):
                parser.error(
                    f"{option_string} {option}: expected a dict or a list of dicts as Python "
                    f"writes them, in quotes for the shell: \"{key}=[{{'type': 'NAME'}}]\""
                )
        read = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        try:
            read(parser, namespace, plain, option_string)
        # mmengine asserts that brackets are closed.
        except AssertionError as error:
            parser.error(f"{option_string}: {error}")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **dicts})

"""Changes to a config on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


class OptionsAction(argparse.Action):
    """mmengine's reading of KEY=VALUE, which fails with a line and not with a traceback."""

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

        for option in values:
            key, is_option, _ = option.partition("=")
            if not is_option or not all(key.split(".")):
                parser.error(
                    f"{option_string} {option}: expected KEY=VALUE without spaces around =, such "
                    "as optim_wrapper.optimizer.lr=0.001"
                )
        read = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        try:
            read(parser, namespace, values, option_string)
        # mmengine asserts that brackets are closed.
        except AssertionError as error:
            parser.error(f"{option_string}: {error}")

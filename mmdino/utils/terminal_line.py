"""A line at the bottom of a terminal."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.live import Live
from rich.text import Text

STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class TerminalLine:
    """A line that is replaced while other text, also what is printed elsewhere, goes above it.

    It has no thread of its own: loaders' workers are forked while it is shown, and a fork of a
    thread that holds the console's lock would wait for it for ever.

    Args:
        console: Where it is shown; a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        # What others print, a traceback above all, is not broken at the width of the terminal.
        console.soft_wrap = True
        self._live = Live(console=console, auto_refresh=False, transient=True)

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._console.width

    def show(self, text: str) -> None:
        """Replaces the line."""
        line = Text(self._encodable(text))
        line.truncate(self.width, overflow="crop")
        self._live.start()
        self._live.update(line, refresh=True)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Prints lines above it, whole, however long they are."""
        # A style of print itself would be that of the line, too.
        self._console.print(Text(self._encodable(text), style=STYLES.get(level, "")))

    def close(self) -> None:
        """Removes it and shows the cursor again."""
        self._live.stop()

    def _encodable(self, text: str) -> str:
        encoding = self._console.encoding
        return text.encode(encoding, "replace").decode(encoding)


class AboveLine(logging.Handler):
    """Prints warnings and errors of a logger above a line; information too, if its level says so.

    Args:
        line: The line.
        filters: What drops records, such as mmengine's filter of warnings that were given before.
    """

    def __init__(self, line: TerminalLine, filters: list) -> None:
        super().__init__(logging.WARNING)
        self._line = line
        for each in filters:
            self.addFilter(each)

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record."""
        name = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        self._line.say(name + record.getMessage(), record.levelno)

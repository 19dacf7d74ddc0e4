"""A line stays at the bottom while other text goes above it, and leaves nothing behind."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from mmdino.utils.terminal_line import AboveLine, TerminalLine

HIDE_CURSOR, SHOW_CURSOR, ERASE = "\x1b[?25l", "\x1b[?25h", "\x1b[2K"


def terminal(width=30, encoding="utf-8"):
    """A line on a terminal, and the bytes that it was sent."""
    sent = io.BytesIO()
    file = io.TextIOWrapper(sent, encoding=encoding, write_through=True)
    console = Console(file=file, force_terminal=True, width=width, _environ={"NO_COLOR": "1"})
    return TerminalLine(console), sent


def test_the_line_is_replaced_and_removed():
    line, sent = terminal()
    line.show("one")
    line.show("two")
    before = sent.getvalue().decode()
    line.close()
    after = sent.getvalue().decode()[len(before) :]
    assert before.startswith(HIDE_CURSOR)
    assert before.endswith(f"\r{ERASE}two"), "the second is written over the first"
    assert after.count(ERASE) >= 1
    assert SHOW_CURSOR in after
    assert after.rstrip().endswith(ERASE), "nothing of the line is left"


def test_text_goes_above_and_is_not_broken():
    line, sent = terminal(width=20)
    line.show("state")
    path = "/a/path/that/is/longer/than/the/terminal/is.png"
    line.say(f"[figure]: {path}")
    print(path)
    above, _, rest = sent.getvalue().decode().rpartition("\n")
    assert f"{ERASE}[figure]: {path}\nstate" in above
    assert above.endswith(f"{ERASE}{path}")
    assert rest == "state"
    line.close()


def test_a_long_state_does_not_wrap():
    line, sent = terminal(width=10)
    line.show("0123456789abcdef")
    assert sent.getvalue().decode().endswith("0123456789")


def test_warnings_go_above_and_other_records_do_not():
    line, sent = terminal()
    logger = logging.Logger("test")
    logger.addHandler(AboveLine(line, [lambda record: "again" not in record.getMessage()]))
    for level, text in ((logging.INFO, "info"), (logging.WARNING, "rare"), (30, "again")):
        logger.log(level, text)
    assert sent.getvalue().decode() == "WARNING: rare\n"


def test_a_console_that_lacks_a_character_gets_another():
    line, sent = terminal(encoding="cp1252")
    line.say("/daten/Größe/图")
    assert sent.getvalue().decode("cp1252") == "/daten/Größe/?\n"

"""What the command-line tools share. tests/tools/ has the tools themselves."""

from __future__ import annotations

import sys

import pytest

from mmdino.command_line import progress_bar, require_mmseg


def test_missing_mmsegmentation_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmseg.models", None)
    with pytest.raises(ImportError, match=r"needs mmsegmentation.*docs/get_started\.md"):
        require_mmseg()


def test_progress_shows_on_a_terminal_and_keeps_out_of_a_log(monkeypatch, capsys):
    progress_bar(3).update()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress_bar(3).update()
    assert "1/3" in capsys.readouterr().err

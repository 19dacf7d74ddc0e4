"""Commands, files and configs that the pages name are those of the project."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
import tiny_tools
from mmdino_cli.main import tools
from mmengine.config import Config

from mmdino.config_check import check_config

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
COMMANDS = tools(TOOLS)
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "configs").rglob("README.md"),
    )
)
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
STARTS = ("python", "mmdino", "tools/dist_train.sh")
PROJECT_PATH = re.compile(r"(?<![\w./-])(?:configs|docs|mmdino|tests|tools)/[\w./*-]*(?:::\w+)?")
PLACEHOLDER = re.compile(r"[A-Z]+(?:\.\w+)?")
"""What the reader is to put a name for."""
A_CONFIG = re.compile(r"(?:configs/\w+/|[A-Z]+_)?CONFIG")
SOME_CONFIG = "configs/dino_demo.py"


class ParsedError(Exception):
    """A tool's parser has accepted the command line."""


def text_of(page):
    return (ROOT / page).read_text()


def code_of(page):
    """What the page sets as code: the blocks, and the words in the prose."""
    text = text_of(page)
    blocks = [match[1] for match in BLOCK.findall(text)]
    return [*blocks, *(code.replace("\n", " ") for code in INLINE.findall(BLOCK.sub("", text)))]


def commands_of(page):
    """Words of each command that the page calls a tool with."""
    for code in code_of(page):
        # run="..." in one line, $run in another.
        values = dict(re.findall(r'^(\w+)="([^"]*)"', code, re.M))
        code = re.sub(r"\$(\w+)", lambda name, values=values: values[name[1]], code)
        for line in code.replace("\\\n", " ").splitlines():
            if not any(start in line for start in STARTS):
                continue
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # a sentence, or Python
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            words = words[: words.index("&&")] if "&&" in words else words
            if len(words) > 1 and words[0] in STARTS and "..." not in words:
                yield words


def tool_and_arguments(words):
    """Path of the tool below tools/ and what follows it, or None for other commands."""
    if words[0] == "mmdino":
        path = COMMANDS.get(words[1])
        # A name alone is one in a sentence or a table.
        return (str(path.relative_to(TOOLS)), words[2:]) if path and words[2:] else None
    if words[0] == "tools/dist_train.sh":
        return "train.py", [words[1], *words[3:]]
    if words[1].startswith("tools/") and not PLACEHOLDER.fullmatch(Path(words[1]).name):
        return words[1].removeprefix("tools/"), words[2:]
    return None


def fault(tool, arguments, capsys):
    """What the tool's parser has against the arguments; empty if nothing."""
    arguments = [SOME_CONFIG if A_CONFIG.fullmatch(word) else word for word in arguments]
    capsys.readouterr()
    try:
        tiny_tools.main_of(tool)(arguments)
    except ParsedError:
        return ""
    except SystemExit:
        return capsys.readouterr().err.splitlines()[-1]
    raise AssertionError(f"{tool} has not read its command line")


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_accepted(page, monkeypatch, capsys):
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *arguments):
        parse_args(parser, *arguments)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.chdir(ROOT)
    faults = {}
    for words in commands_of(page):
        found = tool_and_arguments(words)
        if found is not None and found[1] and (message := fault(*found, capsys)):
            faults[" ".join(words)] = message
    assert faults == {}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    missing = []
    for code in code_of(page):
        for found in PROJECT_PATH.findall(code):
            path, _, name = found.rstrip(".").partition("::")
            if PLACEHOLDER.fullmatch(Path(path).name):
                continue
            files = list(ROOT.glob(path.rstrip("/")))
            if not files or (name and f"def {name}(" not in files[0].read_text()):
                missing.append(found)
    assert missing == []


def configs_of(page):
    """Blocks of Python that are a whole config."""
    start = '_base_ = ["configs/'
    return [text for _, text in BLOCK.findall(text_of(page)) if text.startswith(start)]


def test_configs_of_the_how_to_have_no_mistake(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    configs = configs_of("docs/howto.md")
    assert len(configs) == 3
    for text in configs:
        (tmp_path / "mine.py").write_text(text)
        assert check_config(Config.fromfile(tmp_path / "mine.py")) == []


def test_every_tool_is_on_the_page_of_tools():
    page = text_of("docs/tools.md")
    assert [name for name in COMMANDS if f"mmdino {name}" not in page] == []

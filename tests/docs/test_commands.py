"""Commands, options, files and configs that the pages name are those of the project."""

from __future__ import annotations

import argparse
import copy
import functools
import re
from pathlib import Path

import pytest
import tiny_tools
from doc_pages import (
    COMMANDS,
    PAGES,
    PLACEHOLDER,
    ROOT,
    blocks_of,
    commands_of,
    text_of,
    tool_and_arguments,
    words_of,
)

from mmdino.config_check import check_config, sections
from mmdino.config_check.config_files import read_config
from mmdino.utils.config_options import merge_options

PROJECT_PATH = re.compile(r"(?<![\w./-])(?:configs|docs|mmdino|tests|tools)/[\w./*-]*(?:::\w+)?")
A_CONFIG = re.compile(r"(?:configs/\w+/|[A-Z]+_)?CONFIG")
SOME_CONFIG = "configs/dino_demo.py"
INCOMPLETE = "the following arguments are required"


class ParsedError(Exception):
    """A tool's parser has accepted the command line."""


def options_of(tool, arguments, capsys):
    """What a tool reads from its command line, or the last line of its refusal."""
    arguments = [SOME_CONFIG if A_CONFIG.fullmatch(word) else word for word in arguments]
    capsys.readouterr()
    try:
        tiny_tools.main_of(tool)(arguments)
    except ParsedError as parsed:
        return parsed.args[0]
    except SystemExit:
        return capsys.readouterr().err.splitlines()[-1]
    raise AssertionError(f"{tool} has not read its command line")


@functools.cache
def config_of(path):
    return read_config(path)


def fault_of_changes(options):
    """What is wrong with the changes to a config that a command makes; empty if nothing."""
    cfg = copy.deepcopy(config_of(options.config))
    try:
        merge_options(cfg, options.cfg_options)
        check_config(cfg)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_accepted(page, monkeypatch, capsys):
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *arguments):
        raise ParsedError(parse_args(parser, *arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    # Their packages are extras of their own.
    monkeypatch.setattr(sections, "LOGGERS", {})
    monkeypatch.chdir(ROOT)
    codes = [(code, True) for _, code in blocks_of(page)]
    codes += [(code, False) for code in words_of(page)]
    faults = {}
    for words, is_whole in ((w, is_whole) for code, is_whole in codes for w in commands_of(code)):
        found = tool_and_arguments(words)
        if found is None:
            continue
        read = options_of(*found, capsys)
        if isinstance(read, str):
            # A sentence may name a command without all that it needs.
            fault = read if is_whole or INCOMPLETE not in read else ""
        else:
            has_changes = found[0] in ("train.py", "test.py") and read.cfg_options
            fault = fault_of_changes(read) if has_changes else ""
        if fault:
            faults[" ".join(words)] = fault
    assert faults == {}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    missing = []
    for code in (*(code for _, code in blocks_of(page)), *words_of(page)):
        for found in PROJECT_PATH.findall(code):
            path, _, name = found.rstrip(".").partition("::")
            if PLACEHOLDER.fullmatch(Path(path).name):
                continue
            files = list(ROOT.glob(path.rstrip("/")))
            if not files or (name and f"def {name}(" not in files[0].read_text()):
                missing.append(found)
    assert missing == []


def test_tests_that_the_questions_name_exist():
    page = " ".join(text_of("docs/faq.md").split())
    # `test_a` and `test_b` in `tests/file.py`
    for names, path in re.findall(r"((?:`test_\w+`(?: and )?)+) in `(tests/[\w/]+\.py)`", page):
        text = (ROOT / path).read_text()
        for name in re.findall(r"test_\w+", names):
            assert f"def {name}(" in text, f"{path} has no {name}"
    assert len(re.findall("^### ", text_of("docs/faq.md"), re.M)) >= 25


def test_every_tool_is_on_the_page_of_tools():
    page = text_of("docs/tools.md")
    assert [name for name in COMMANDS if f"mmdino {name}" not in page] == []

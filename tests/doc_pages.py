"""Pages of the documentation: their blocks of code, and the commands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from mmdino_cli.main import tools

ROOT = Path(__file__).parents[1]
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
BLOCK = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
VARIABLE = re.compile(r'^(\w+)="([^"]*)"\n', re.M)
HERE_DOCUMENT = re.compile(r"^(.*) <<'(\w+)'\n(.*?)^\2$", re.M | re.S)
STARTS = ("python", "mmdino", "tools/dist_train.sh")
PLACEHOLDER = re.compile(r"[A-Z]+(?:\.\w+)?")
"""What the reader is to put a name for."""


def text_of(page):
    return (ROOT / page).read_text()


def blocks_of(page, language=None):
    """Language and text of the blocks of code, or the texts of those in one language."""
    found = BLOCK.findall(text_of(page))
    return found if language is None else [text for of, text in found if of == language]


def words_of(page):
    """What is set as code in sentences and tables."""
    return [code.replace("\n", " ") for code in INLINE.findall(BLOCK.sub("", text_of(page)))]


def shell_commands(code):
    """Words of each command of a block in bash; a here-document is the last of its command."""
    documents = [text for _, _, text in HERE_DOCUMENT.findall(code)]
    for line in shell_lines(HERE_DOCUMENT.sub(r"\1 <<", code)):
        for words in split_line(line):
            yield [documents.pop(0) if word == "<<" else word for word in words]


def shell_lines(code):
    """Lines of a piece of code with their variables, those with a backslash put together."""
    # run="..." in one line, $run in another.
    values = {name: " ".join(value.split()) for name, value in VARIABLE.findall(code)}
    code = re.sub(r"\$(\w+)", lambda name: values[name[1]], VARIABLE.sub("", code))
    return code.replace("\\\n", " ").splitlines()


def split_line(line):
    """Words of each command of a line, without variables of the environment."""
    words = shlex.split(line, comments=True)
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        command, words = words[:end], words[end + 1 :]
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            del command[0]
        if command:
            yield command


def commands_of(code):
    """Words of each whole command of this project in a piece of code, which may be a sentence."""
    for line in shell_lines(code):
        if not any(start in line for start in STARTS):
            continue
        try:
            commands = list(split_line(line))
        except ValueError:  # a sentence, or Python
            continue
        for words in commands:
            if len(words) > 1 and words[0] in STARTS and "..." not in words:
                yield words


def tool_and_arguments(words):
    """Path of the tool below tools/ and what follows it; None for other commands."""
    if words[0] == "mmdino":
        path = COMMANDS.get(words[1])
        return None if path is None else (str(path.relative_to(TOOLS)), words[2:])
    if words[0] == "tools/dist_train.sh":
        return "train.py", [words[1], *words[3:]]
    if words[1].startswith("tools/") and not PLACEHOLDER.fullmatch(Path(words[1]).name):
        return words[1].removeprefix("tools/"), words[2:]
    return None

"""``mmdino COMMAND``: runs a tool, from wherever it is installed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

NAMES = {
    "embed": "extract_features",
    "attention": "visualize_attention",
}
"""Commands that are not called as the file of their tool."""
INTERNAL = {"launch_ranks"}
"""Tools that other tools start."""
DOCTOR = "doctor"
USAGE = """usage: mmdino COMMAND [options]

mmdino COMMAND --help lists the options of a command. A command is the tool of that name, so that
"mmdino train CONFIG" and "python tools/train.py CONFIG" are the same.

commands:
"""


def tools(folder: Path | None = None) -> dict[str, Path]:
    """Returns the files of the tools by the names of their commands.

    Args:
        folder: Folder of the tools, by default that of the installed package.
    """
    if folder is None:
        # The location, without the import.
        folder = Path(find_spec("mmdino").origin).parent / ".mim" / "tools"
    files = [*folder.glob("*.py"), *folder.glob("model_converters/*.py")]
    by_stem = {path.stem: path for path in files if path.stem not in INTERNAL}
    renamed = {stem: name for name, stem in NAMES.items()}
    found = {renamed.get(stem, stem.replace("_", "-")): path for stem, path in by_stem.items()}
    return dict(sorted(found.items()))


def usage(commands: Mapping[str, Path]) -> str:
    """Returns the help: every command with the first sentence of its tool."""
    lines = {name: summary(path) for name, path in commands.items()}
    lines[DOCTOR] = "Prints versions and devices, and what is missing with the command for it."
    return USAGE + "".join(f"  {name:<20} {line}\n" for name, line in sorted(lines.items()))


def summary(path: Path) -> str:
    """Returns the first line of a tool's docstring, without running the tool."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command that the command line names.

    Args:
        argv: The command line; by default that of the process.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    commands = tools()
    if name in ("-h", "--help"):
        print(usage(commands), end="")
    elif name == DOCTOR:
        from mmdino_cli.doctor import main as doctor

        doctor(rest)
    elif name in commands:
        run(name, commands[name], rest)
    else:
        near = get_close_matches(name, [*commands, DOCTOR], n=1)
        advice = f" Did you mean {near[0]}?" if near else ""
        sys.exit(_error(f"mmdino has no command {name!r}.{advice} mmdino --help lists them."))


def run(name: str, path: Path, arguments: Sequence[str]) -> None:
    """Runs a tool as ``python FILE`` does.

    Args:
        name: Name of the command.
        path: File of the tool.
        arguments: What follows the command on the command line.
    """
    try:
        import mmdino  # noqa: F401
    except ImportError as error:
        sys.exit(_error(f"{error} (mmdino {DOCTOR} shows more)"))
    sys.argv = [f"mmdino {name}", *arguments]
    # A script finds the modules beside it.
    sys.path.insert(0, str(path.parent))
    # runpy would put the file's name in place of the command's in messages of argparse.
    spec = spec_from_file_location("__main__", path)
    module = module_from_spec(spec)
    module.__spec__ = None  # as a script's: processes that are started import it by its file
    sys.modules["__main__"] = module
    spec.loader.exec_module(module)


def _error(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2

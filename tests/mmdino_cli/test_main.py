"""``mmdino COMMAND`` runs the tools, whichever there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmdino_cli.main import main, summary, tools

ROOT = Path(__file__).parents[2]
LISTED = """
import sys
from mmdino_cli.main import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"torch", "mmengine", "mmcv", "mmpretrain"} & set(sys.modules)
    print("heavy:", *sorted(heavy))
"""


def run(code, *arguments, folder):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_every_tool_has_a_command():
    stems = {path.stem for path in (ROOT / "tools").glob("*.py")}
    stems |= {path.stem for path in (ROOT / "tools" / "model_converters").glob("*.py")}
    found = tools()
    assert {path.stem for path in found.values()} == stems - {"launch_ranks"}
    assert {"train", "test", "embed", "attention", "pca", "compare", "convert", "extract"} <= set(
        found
    )


def test_a_new_tool_has_a_command_at_once(tmp_path):
    (tmp_path / "look_at.py").write_text('"""Looks.\n\nAt length."""\n')
    found = tools(tmp_path)
    assert {name: summary(path) for name, path in found.items()} == {"look-at": "Looks."}


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "usage: mmdino COMMAND"),
        (["train", "--help"], "usage: mmdino train"),
        (["search", "--help"], "usage: mmdino search"),
    ],
)
def test_help_imports_nothing_that_takes_long(tmp_path, arguments, shown):
    result = run(LISTED, *arguments, folder=tmp_path)
    assert result.stdout.startswith(shown), result.stderr
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_help_names_each_command(capsys):
    main([])
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in [*tools(), "doctor"])


def test_an_unknown_command_is_an_error_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trian"])
    assert ended.value.code == 2
    assert "no command 'trian'. Did you mean train?" in capsys.readouterr().err


def test_a_tool_ends_as_its_script_does(tmp_path):
    result = run(LISTED, "train", "no_such_config", folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip().startswith("error: The config 'no_such_config' does not exist")


def test_a_converter_finds_the_modules_beside_it(tmp_path):
    result = run(LISTED, "extract", "--help", folder=tmp_path)
    assert "usage: mmdino extract" in result.stdout, result.stderr

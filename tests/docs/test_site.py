"""The site is built from the pages and the docstrings without a warning, links included."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny_run

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")),
    reason='the site needs pip install -e ".[docs]"',
)
def test_site_is_built_without_warnings(tmp_path):
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(tmp_path / "doctrees")]
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-c", "docs", ".", str(tmp_path / "site")],
        cwd=ROOT,
        env=tiny_run.script_env(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "site/index.html").is_file()
    losses = (tmp_path / "site/docs/api/losses.html").read_text()
    assert "DINOLoss" in losses
    assert "teacher_temp" in losses

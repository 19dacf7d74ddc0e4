"""An unsupported environment is an error with the pip command to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmdino.utils.dependencies import check_dependencies

SCRIPT = Path(__file__).parents[1] / "scripts" / "import_without_mmpretrain.py"
ONEDL = {
    "onedl-mmengine": "0.10.12",
    "onedl-mmcv": "2.3.6",
    "onedl-mmpretrain": "1.3.6",
}
ORIGINAL = {"mmengine": "0.10.7", "mmcv": "2.1.0", "mmpretrain": "1.2.0"}


@pytest.mark.parametrize("installed", [ONEDL, ORIGINAL, {**ORIGINAL, "mmcv-lite": "2.1.0"}])
def test_both_distributions_are_accepted(installed):
    check_dependencies(installed.get)


@pytest.mark.parametrize("missing", ["onedl-mmengine", "onedl-mmcv", "onedl-mmpretrain"])
def test_a_missing_package_is_named_with_the_command(missing):
    installed = {name: version for name, version in ONEDL.items() if name != missing}
    with pytest.raises(ImportError, match=rf"{missing[6:]} .*pip install \"mmdino\[onedl\]\""):
        check_dependencies(installed.get)


@pytest.mark.parametrize("version", ["1.1.0", "1.4.0"])
def test_a_version_outside_the_window_is_named_with_the_command(version):
    with pytest.raises(ImportError, match=rf'{version} is .*pip install "mmpretrain>=1\.2\.0,<1'):
        check_dependencies({**ORIGINAL, "mmpretrain": version}.get)


def test_both_distributions_at_once_are_refused():
    with pytest.raises(ImportError, match="both OpenMMLab distributions"):
        check_dependencies({**ONEDL, **ORIGINAL}.get)


def test_import_without_mmpretrain_gives_the_one_error():
    """No other import fails before the check."""
    result = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("ImportError: mmdino needs mmpretrain")


def test_requirements_of_the_package_pull_in_neither_distribution():
    from importlib.metadata import requires

    plain = [line for line in requires("mmdino") if "extra ==" not in line]
    assert plain
    assert not [line for line in plain if "mm" in line.split(">")[0] and "numpy" not in line]

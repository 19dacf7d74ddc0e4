"""Checks that a supported OpenMMLab distribution is installed, before importing it.

OpenMMLab has two distributions with the same import names: the original packages and the maintained
``onedl-*`` fork. mmdino runs on either and requires neither in ``setup.py``, since pip would then
install one over the other.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from types import ModuleType
from typing import NamedTuple

from packaging.version import Version


class Requirement(NamedTuple):
    """An import name, its distributions, and the range of tested versions."""

    module: str
    distributions: tuple[str, ...]
    at_least: str
    below: str


REQUIREMENTS = (
    Requirement("mmengine", ("onedl-mmengine", "mmengine", "mmengine-lite"), "0.10.7", "0.11"),
    Requirement("mmcv", ("onedl-mmcv", "mmcv", "mmcv-lite"), "2.1.0", "2.4"),
    Requirement("mmpretrain", ("onedl-mmpretrain", "mmpretrain"), "1.2.0", "1.4"),
)
INSTALL_ADVICE = (
    'pip install "mmdino[onedl]" (the maintained distribution) or '
    'pip install "mmdino[openmmlab]" (the original one)'
)


def installed_version(distribution: str) -> str | None:
    """Returns the installed version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_dependencies(
    version_of: Callable[[str], str | None] = installed_version,
) -> None:
    """Checks that the environment supports mmdino.

    Args:
        version_of: Returns the installed version of a distribution, or None.

    Raises:
        ImportError: If a package is missing, outside the tested range, or installed from both
            distributions. The message contains the pip command to run.
    """
    sources: set[bool] = set()
    for requirement in REQUIREMENTS:
        found = {name: version_of(name) for name in requirement.distributions}
        found = {name: version for name, version in found.items() if version is not None}
        if not found:
            raise ImportError(
                f"mmdino needs {requirement.module} "
                f">={requirement.at_least},<{requirement.below}, which is not installed. "
                f"Run: {INSTALL_ADVICE}"
            )
        for name, version in found.items():
            sources.add(name.startswith("onedl-"))
            if not Version(requirement.at_least) <= Version(version) < Version(requirement.below):
                raise ImportError(
                    f"mmdino is tested with {requirement.module} "
                    f">={requirement.at_least},<{requirement.below}, but {name} {version} is "
                    f'installed. Run: pip install "{name}'
                    f'>={requirement.at_least},<{requirement.below}"'
                )
    if len(sources) > 1:
        raise ImportError(
            "Packages of both OpenMMLab distributions are installed (onedl-* and the original "
            "ones). They overwrite each other's files. Uninstall all of mmengine, mmcv, "
            "mmpretrain, onedl-mmengine, onedl-mmcv and onedl-mmpretrain, then: " + INSTALL_ADVICE
        )


def import_optional(name: str, purpose: str, extra: str) -> ModuleType:
    """Imports a package that only a part of mmdino needs.

    Args:
        name: Name of the module.
        purpose: What needs it, for the message.
        extra: The extra of mmdino that installs it.

    Raises:
        ModuleNotFoundError: If it is not installed, with the command that installs it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(missing_optional(name, purpose, extra), name=name) from error


def missing_optional(name: str, purpose: str, extra: str) -> str:
    """Returns that a package is missing, and the command that installs it."""
    return f'{purpose} needs {name}, which is not installed. Run: pip install "mmdino[{extra}]"'

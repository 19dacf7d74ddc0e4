"""Imports mmdino in an environment whose metadata has no mmpretrain."""

from importlib import metadata

real_version = metadata.version


def version(name: str) -> str:
    """Version of a distribution, as if mmpretrain were not installed."""
    if "mmpretrain" in name:
        raise metadata.PackageNotFoundError(name)
    return real_version(name)


metadata.version = version
import mmdino  # noqa: E402, F401

"""Classes and functions that a text may name, looked up without importing what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import Registry


def registered(root: Registry, name: str, scopes: Sequence[str]) -> tuple[str, Any] | None:
    """Returns what is registered under a name, or None.

    mmengine's own look-up imports whatever module a name begins with, and returns any attribute of
    it, so that it is not for names in files of others.

    Args:
        root: mmengine's registry.
        name: A name, such as ``"ResNet"`` or ``"mmdino.ResNet"``, or the path of a class.
        scopes: Where to look for a name without a scope, in this order.

    Returns:
        The name with its scope, and the class or function.
    """
    *scope, short = name.split(".")
    registries = {root.scope: root, **root.children}
    for searched in scope[:1] or scopes:
        registry = registries.get(searched)
        if registry is None:
            continue
        registry.import_from_location()
        if short in registry.module_dict:
            return f"{searched}.{short}", registry.module_dict[short]
    return None

"""Looking up what a ``type`` names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType

from mmengine.registry import Registry
from mmengine.registry import root as root_registries

from mmdino.config_check.spelling import nearest


def find(name: str, registry: Registry, scope: str | None) -> Callable | None:
    """Returns what is registered under a name, None if nothing is.

    Args:
        name: Name, which may have a scope before it.
        registry: Root registry of the kind.
        scope: Scope of names without one.
    """
    with registry.switch_scope_and_registry(scope) as scoped:
        try:
            found = scoped.get(name)
        # mmengine's get imports what the name may stand for.
        except RuntimeError:
            return None
    return None if isinstance(found, ModuleType) else found


def find_anywhere(name: str, registry: Registry, scope: str | None) -> Callable | None:
    """Looks in a registry first, then in all others.

    Components build parts of any kind, and only their code knows which.
    """
    others = [
        other
        for other in vars(root_registries).values()
        if isinstance(other, Registry) and other is not registry
    ]
    for candidate in (registry, *others):
        found = find(name, candidate, scope)
        if found is not None:
            return found
    # Projects have registries without a root, such as mmpretrain's of batch augmentations.
    for other in _registries_of(scope):
        if other.parent is None and (found := other.get(name)) is not None:
            return found
    return None


def _registries_of(scope: str | None) -> list[Registry]:
    try:
        module = importlib.import_module(f"{scope}.registry")
    except ImportError:
        return []
    return [value for value in vars(module).values() if isinstance(value, Registry)]


def is_scope(scope: str) -> bool:
    """Whether there is a project of that name."""
    roots = [value for value in vars(root_registries).values() if isinstance(value, Registry)]
    return any(root._search_child(scope) for root in roots) or bool(_registries_of(scope))


def known_names(registry: Registry, scope: str | None) -> dict[str, None]:
    """Returns all names of a kind as a config of a scope writes them."""
    with registry.switch_scope_and_registry(scope) as scoped:
        scoped.import_from_location()
        names = dict.fromkeys(scoped.module_dict)
        parent = scoped.parent
        while parent is not None:
            names |= dict.fromkeys(parent.module_dict)
            parent = parent.parent
    for child in registry.root.children.values():
        if child.scope != scope:
            names |= {f"{child.scope}.{name}": None for name in child.module_dict}
    return names


def nearest_names(name: str, registry: Registry, scope: str | None) -> list[str]:
    """Returns the registered names that an unknown one may stand for."""
    known = known_names(registry, scope)
    bare = name.rpartition(".")[2]
    elsewhere = [other for other in known if other.rpartition(".")[2] == bare]
    return elsewhere or nearest(name, known) or nearest(bare, known)


def describe(obj: Callable) -> str:
    """Returns the name of a class or function for a message."""
    return obj.__name__ if inspect.isroutine(obj) or inspect.isclass(obj) else repr(obj)

"""Looking up what a ``type`` names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType

from mmengine.registry import Registry
from mmengine.registry import root as root_registries

from mmdino.config_check.spelling import MOST, nearest


def find(name: str, registry: Registry, scope: str | None) -> Callable | None:
    """Returns what is registered under a name, None if nothing is.

    Args:
        name: Name, which may have a scope before it.
        registry: Root registry of the kind.
        scope: Scope of names without one.
    """
    try:
        found = in_scope(registry, scope).get(name)
    # mmengine's get imports what the name may stand for.
    except RuntimeError:
        return None
    return None if isinstance(found, ModuleType) else found


def in_scope(registry: Registry, scope: str | None) -> Registry:
    """Returns the registry of a scope, the root itself where the scope has none of that kind.

    As mmengine's ``switch_scope_and_registry``, which logs a warning in the second case.
    """
    _registries_of(scope)
    return registry.children.get(scope, registry)


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
    known = any(scope == root.scope or scope in root.children for root in roots)
    return known or bool(_registries_of(scope))


def known_names(registry: Registry, scope: str | None) -> list[str]:
    """Returns all names of a kind as a config of a scope writes them."""
    scoped = in_scope(registry, scope)
    scoped.import_from_location()
    names = [*scoped.module_dict, *registry.module_dict]
    for child in registry.children.values():
        if child is not scoped:
            names += [f"{child.scope}.{name}" for name in child.module_dict]
    return list(dict.fromkeys(names))


def nearest_names(name: str, registry: Registry, scope: str | None) -> list[str]:
    """Returns the registered names that an unknown one may stand for."""
    known = known_names(registry, scope)
    bare = name.rpartition(".")[2]
    in_other_scopes = [other for other in known if other.rpartition(".")[2] == bare]
    longer = [other for other in known if other.rpartition(".")[2].startswith(bare)]
    return in_other_scopes or nearest(name, known) or nearest(bare, known) or longer[:MOST]


def describe(obj: Callable) -> str:
    """Returns the name of a class or function for a message."""
    return obj.__name__ if inspect.isroutine(obj) or inspect.isclass(obj) else repr(obj)

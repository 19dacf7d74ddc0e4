"""Runs a function once another package has been imported, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Watcher(MetaPathFinder):
    """Finds one module as the other finders do, and calls a function after its code has run."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self.name = name
        self.function = function

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        # Those behind this one, so that several may wait for the same module.
        finders = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            run = spec.loader.exec_module

            def run_and_call(module: ModuleType) -> None:
                run(module)
                sys.meta_path.remove(self)
                self.function()

            spec.loader.exec_module = run_and_call
        return spec


def after_import(name: str, function: Callable[[], None]) -> None:
    """Calls a function after a module has been imported: now, if it has been already.

    Args:
        name: Name of the module, with those of its packages.
        function: What to call, once.
    """
    if name in sys.modules:
        function()
    else:
        sys.meta_path.insert(0, _Watcher(name, function))

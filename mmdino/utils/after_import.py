"""Runs code with the import of another package, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Watcher(MetaPathFinder):
    """Finds one module as the other finders do, and runs its code within a context."""

    def __init__(self, name: str, context: Callable[[], AbstractContextManager]) -> None:
        self.name = name
        self.context = context

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

            def run_in_context(module: ModuleType) -> None:
                with self.context():
                    run(module)
                    sys.meta_path.remove(self)

            spec.loader.exec_module = run_in_context
        return spec


def after_import(name: str, function: Callable[[], None]) -> None:
    """Calls a function after a module has been imported: now, if it has been already.

    Args:
        name: Name of the module, with those of its packages.
        function: What to call, once.
    """

    @contextmanager
    def calling() -> Iterator[None]:
        yield
        function()

    if name in sys.modules:
        function()
    else:
        during_import(name, calling)


def during_import(name: str, context: Callable[[], AbstractContextManager]) -> None:
    """Makes the first import of a module run within a context, if it is still to come.

    Args:
        name: Name of the module, with those of its packages.
        context: Returns the context.
    """
    if name not in sys.modules:
        sys.meta_path.insert(0, _Watcher(name, context))

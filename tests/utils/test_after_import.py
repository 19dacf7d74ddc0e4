"""A function is called once another module has been imported."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager

import pytest

from mmdino.utils.after_import import after_import, during_import


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module that can be imported and is not yet."""
    (tmp_path / "imported_later.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield "imported_later"
    sys.modules.pop("imported_later", None)


def test_called_when_the_module_is_there_and_only_once(module):
    seen = []
    after_import(module, lambda: seen.append(sys.modules[module].value))
    assert not seen
    found = importlib.import_module(module)
    assert seen == [1]
    importlib.reload(found)
    assert seen == [1]


def test_called_at_once_if_the_module_has_been_imported(module):
    importlib.import_module(module)
    seen = []
    after_import(module, lambda: seen.append(True))
    assert seen == [True]


def test_two_functions_wait_for_one_module(module):
    seen = []
    after_import(module, lambda: seen.append("first"))
    after_import(module, lambda: seen.append("second"))
    importlib.import_module(module)
    assert sorted(seen) == ["first", "second"]


def test_a_module_is_run_within_a_context_and_only_once(module):
    seen = []

    @contextmanager
    def context():
        seen.append(hasattr(sys.modules[module], "value"))
        yield
        seen.append(sys.modules[module].value)

    during_import(module, context)
    found = importlib.import_module(module)
    importlib.reload(found)
    assert seen == [False, 1]


def test_a_missing_module_stays_missing():
    after_import("no_such_module_of_anyone", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_anyone"):
        importlib.import_module("no_such_module_of_anyone")
    sys.meta_path.pop(0)

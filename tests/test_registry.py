"""The registries of the scope ``mmdino``, and what they note of lookups."""

from __future__ import annotations

import pytest
from mmengine import registry as root
from mmengine.registry import DefaultScope

from mmdino import registry

OWN = {
    "MODELS": "DINO",
    "DATASETS": "ImageFolder",
    "DATA_SAMPLERS": "EpochSampler",
    "FUNCTIONS": "BlockMasks",
    "HOOKS": "EMATeacherHook",
}


@pytest.fixture
def noted(monkeypatch):
    """Lookups that were noted."""
    calls = []
    monkeypatch.setattr(registry, "note_component", lambda: calls.append(True))
    return calls


@pytest.mark.parametrize(("kind", "name"), OWN.items())
def test_an_own_component_is_found_from_the_root_and_noted(noted, kind, name):
    found = getattr(root, kind).get(f"mmdino.{name}")
    assert found.__module__.startswith("mmdino.")
    assert getattr(registry, kind).get(name) is found
    assert noted == [True, True]


def test_components_of_the_parents_are_found_and_not_noted(noted):
    assert registry.HOOKS.get("LoggerHook") is root.HOOKS.get("LoggerHook")
    assert registry.MODELS.get("mmpretrain.ResNet").__module__.startswith("mmpretrain.")
    with DefaultScope.overwrite_default_scope("mmdino"):
        root.HOOKS.build({"type": "IterTimerHook"})
    assert noted == []

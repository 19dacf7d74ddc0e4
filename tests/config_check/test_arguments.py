"""What classes take by keyword, and what code reads from a dict."""

from __future__ import annotations

import functools
from typing import Literal

import pytest
from torch import nn

from mmdino.config_check.arguments import arguments_of
from mmdino.config_check.scalars import type_problem
from mmdino.config_check.source import default_type, keys_read
from mmdino.config_check.spelling import is_one_edit, near_misses, nearest


class Base:
    def __init__(self, first, second=2, third=3):
        pass


class HandsOn(Base):
    def __init__(self, own, **kwargs):
        super().__init__(own, third=4, **kwargs)


class Pops(Base):
    def __init__(self, **kwargs):
        self.extra = kwargs.pop("extra", None)
        super().__init__(**kwargs)


class Explicit(HandsOn):
    def __init__(self, *args, **kwargs):
        Base.__init__(self, *args, **kwargs)


class Skips(HandsOn):
    def __init__(self, **kwargs):
        super(HandsOn, self).__init__(**kwargs)


class Mixin:
    def __init__(self, *args, **kwargs):
        super().__init__(1, *args, **kwargs)


class Mixed(Mixin, Base):
    pass


class Keeps:
    def __init__(self, own=1, **kwargs):
        self.options = dict(kwargs)


class Swallows:
    def __init__(self, own=1, **kwargs):
        pass


class Layer(nn.Module):
    pass


class Decorated(Base):
    @functools.wraps(Base.__init__)
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize(
    ("cls", "known", "is_open"),
    [
        (Base, {"first", "second", "third"}, False),
        (HandsOn, {"own", "second"}, False),
        (Pops, {"extra", "first", "second", "third"}, False),
        (Explicit, {"first", "second", "third"}, False),
        (Skips, {"first", "second", "third"}, False),
        (Mixed, {"second", "third"}, False),
        (Keeps, {"own"}, True),
        (Swallows, {"own"}, True),
        (Layer, set(), False),
        (object, set(), False),
        (Decorated, {"first", "second", "third"}, True),
        (functools.partial(Base, second=1), {"first", "second", "third"}, False),
    ],
)
def test_arguments_go_through_the_constructors_of_bases(cls, known, is_open):
    found = arguments_of(cls)
    assert set(found.known) == known
    assert found.is_open is is_open


def test_required_arguments_are_those_without_a_default():
    required = {name for name, value in arguments_of(Pops).known.items() if value.required}
    assert required == {"first"}


class Reader:
    def __init__(self, cfg, loss=None, norm=None):
        self.first = cfg["a"] + cfg.get("b", 0) + cfg.pop("c", 0)
        self._cfg = cfg
        norm.setdefault("type", "BN")
        self.loss = {"type": "L1", **(loss or {})}

    def later(self):
        return "d" in self._cfg or self._cfg.e or self._cfg.items()


def test_keys_that_code_reads_are_found():
    assert keys_read(Reader, "cfg") == {"a", "b", "c", "d", "e"}
    assert keys_read(Reader, "cfg", attributes=False) == {"a", "b", "c", "d"}
    assert keys_read(Reader, "other") == set()


def test_types_that_a_class_chooses_by_itself_are_found():
    assert default_type(Reader, "norm") == "BN"
    assert default_type(Reader, "loss") == "L1"
    assert default_type(Reader, "cfg") is None


@pytest.mark.parametrize(
    ("wrong", "is_near"),
    [
        ("momentm", True),
        ("momentumm", True),
        ("momemtum", True),
        ("momnetum", True),
        ("Momentum", True),
        ("momentum", False),
        ("moment", False),
    ],
)
def test_one_edit(wrong, is_near):
    assert is_one_edit(wrong, "momentum") is is_near


def test_near_misses_are_sure_and_nearest_are_guesses():
    assert near_misses("scale1", ["scale2", "rescale"]) == []
    assert near_misses("lr", ["lrs"]) == []
    assert nearest("lr", ["lrs", "momentum"]) == ["lrs"]
    assert nearest("max_epoch", ["max_epochs", "val_begin"]) == ["max_epochs"]


@pytest.mark.parametrize(
    ("hint", "value", "is_wrong"),
    [
        (int, "a", True),
        (float, "a", True),
        (float | None, "a", True),
        (list[int], "a", True),
        (int | str, "a", False),
        (nn.Module, "a", False),
        (tuple, "a", False),
        (Literal["x", "y"], "a", True),
        (Literal["x", "y"], "x", False),
        (bool, "yes", True),
        # Other projects annotate loosely, so their numbers are not judged.
        (int, 1.5, False),
        (int, True, False),
        (str, 3, False),
        (dict, None, False),
    ],
)
def test_texts_are_judged_by_annotations(hint, value, is_wrong):
    def function(argument: hint):
        pass

    function.__annotations__ = {"argument": hint}
    argument = arguments_of(function).known["argument"]
    assert (type_problem(argument, value) is not None) is is_wrong

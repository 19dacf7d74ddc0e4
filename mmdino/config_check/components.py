"""Checks of dicts that name what is built from them, and of all that such dicts contain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from mmengine.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS, TRANSFORMS, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdino.config_check.arguments import Argument, Arguments, arguments_of
from mmdino.config_check.places import (
    EXTRA_KEYS,
    PLAIN,
    REGISTRIES,
    WHOLE,
    Place,
    is_of_project,
)
from mmdino.config_check.problems import Problems, join
from mmdino.config_check.ranges import range_problem
from mmdino.config_check.registries import describe, find, find_anywhere, nearest_names
from mmdino.config_check.scalars import type_problem
from mmdino.config_check.source import default_type, keys_read
from mmdino.config_check.spelling import did_you_mean, is_one_edit, near_misses


@dataclass
class Walk:
    """One walk over a config.

    Args:
        scope: Scope of types without one.
    """

    scope: str
    problems: Problems = field(default_factory=Problems)

    def component(self, value: Any, path: str, place: Place) -> Callable | None:
        """Checks a dict with a type, or a list of them; returns what the type names."""
        if isinstance(value, (list, tuple)):
            for index, member in enumerate(value):
                self.component(member, join(path, index), place)
        if not isinstance(value, Mapping):
            if value is None or isinstance(value, (str, int, float)):
                self.problems.add(path, f"got {value!r}; expected a dict with a type")
            return None
        kind = value.get("type", place.default)
        if kind is None:
            self.problems.add(path, f"this dict has no type{did_you_mean_type(value)}")
            return None
        built = self.look_up(kind, join(path, "type"), place.registry, value)
        if built is not None:
            takes = arguments_of(built)
            self.arguments(value, path, built, takes, place)
        return built

    def look_up(self, kind: Any, path: str, registry: Registry, value: Mapping) -> Any:
        """Returns what a type names; notes a problem and returns None if nothing."""
        if not isinstance(kind, str) or not kind:
            if not callable(kind):
                self.problems.add(path, f"got {kind!r}; expected a name or a class")
                return None
            return kind
        scope = value.get("_scope_") or self.scope
        found = find(kind, registry, scope)
        if found is None:
            guess = did_you_mean(nearest_names(kind, registry, scope))
            self.problems.add(path, f"there is no {registry.name} {kind!r}{guess}")
        return found

    def arguments(
        self, value: Mapping, path: str, owner: Callable, takes: Arguments, place: Place
    ) -> None:
        """Checks the keys and values of a dict against what is built from it."""
        known = {*takes.known, *place.extra}
        names = known - ({*place.given} - {*place.extra})
        self.problems.note_place(path, names)
        keys = [key for key in value if key not in ("type", "_scope_")]
        is_strict = place.is_strict and not takes.is_open
        for key in keys:
            if key not in known and (is_strict or near_misses(str(key), names)):
                self.problems.add_unknown(path, str(key), describe(owner), {*names, "type"})
        if place.is_whole:
            missing = [
                name
                for name, argument in takes.known.items()
                if argument.required and name not in value and name not in place.given
            ]
            # One misspelt key is one problem.
            if missing and not any(near_misses(str(key), missing) for key in keys):
                self.problems.add(path, f"{describe(owner)} needs {', '.join(map(repr, missing))}")
        for key in keys:
            argument = takes.known.get(key, Argument())
            if key in known or not is_strict:
                self.value(value[key], join(path, key), argument, is_of_project(owner))
            self.nested(value[key], path, str(key), owner, place)

    def value(self, value: Any, path: str, argument: Argument, is_known: bool = True) -> None:
        """Checks a number or text; ``is_known`` says whether a known project's class takes it."""
        problem = range_problem(path, value, is_known) or type_problem(argument, value)
        if path.rpartition(".")[2] == "init_cfg" and isinstance(value, (str, Real)):
            problem = "expected a dict, such as dict(type='Pretrained', checkpoint=PATH)"
        if problem:
            self.problems.add(path, f"got {value!r}; {problem}")

    def nested(self, value: Any, path: str, key: str, owner: Callable, place: Place) -> None:
        """Checks what an argument contains."""
        registry = REGISTRIES.get(key, place.registry)
        if key.endswith("pipeline"):
            registry = TRANSFORMS
        # A class of one's own may add arguments to a config, or take some out of it.
        is_known = is_of_project(owner)
        inner = Place(
            registry,
            extra=keys_read(owner, key) | EXTRA_KEYS.get(key, set()),
            default=default_type(owner, key) if isinstance(owner, type) else None,
            is_whole=is_known and (key in WHOLE or key.endswith("pipeline")),
            is_strict=is_known,
        )
        self.inside(value, join(path, key), key, owner, inner)

    def inside(self, value: Any, path: str, key: str, owner: Callable, place: Place) -> None:
        """Checks what a value of an argument contains, at any depth."""
        if isinstance(value, (list, tuple)):
            for index, member in enumerate(value):
                self.inside(member, join(path, index), key, owner, place)
        if key.endswith("dataloader") and isinstance(value, (str, Real)):
            self.dataloader(value, path)
        if not isinstance(value, Mapping):
            return
        if key.endswith("dataloader"):
            self.dataloader(value, path)
        elif isinstance(value.get("type", place.default), str) or "type" in value:
            self.part(value, path, place)
        else:
            if did_you_mean_type(value):
                self.problems.add(path, f"this dict has no type{did_you_mean_type(value)}")
            self.plain(value, path, key, owner)
            for name, member in value.items():
                inner = Place(
                    REGISTRIES.get(str(name), place.registry),
                    is_whole=False,
                    is_strict=place.is_strict,
                )
                self.inside(member, join(path, name), str(name), owner, inner)

    def part(self, value: Mapping, path: str, place: Place) -> None:
        """Checks a dict with a type whose kind is not certain."""
        kind = value.get("type", place.default)
        scope = value.get("_scope_") or self.scope
        built = kind
        if place.is_whole and not kind:
            built = None
        elif isinstance(kind, str):
            built = find_anywhere(kind, place.registry, scope)
        if built is None and not place.is_whole:
            # It may be a word that the owner alone understands.
            guesses = nearest_names(kind, place.registry, scope)
            if not near_misses(kind, guesses):
                return
        if built is None or (place.is_whole and not callable(built)):
            self.look_up(kind, join(path, "type"), place.registry, value)
        elif callable(built):
            self.arguments(value, path, built, arguments_of(built), place)

    def plain(self, value: Mapping, path: str, key: str, owner: Callable) -> None:
        """Checks the keys of a dict without a type: against those that its owner reads."""
        known = next(
            (keys for (cls, name), keys in PLAIN.items() if name == key and _is(owner, cls)), None
        )
        if known is not None:
            self.keys(value, path, describe(owner), known)
        else:
            read = keys_read(owner, key)
            self.problems.note_place(path, read)
            for name in value:
                if name not in read and near_misses(str(name), read):
                    self.problems.add_unknown(path, str(name), describe(owner), read)

    def keys(self, value: Mapping, path: str, owner: str, known: Collection[str]) -> None:
        """Checks that a dict has no other keys than those known."""
        self.problems.note_place(path, known)
        for key in value:
            if key not in known and not str(key).startswith("_"):
                self.problems.add_unknown(path, str(key), owner, known)

    def dataloader(self, value: Any, path: str) -> None:
        """Checks the config of a dataloader, from which mmengine builds several objects."""
        if not isinstance(value, Mapping):
            if isinstance(value, (str, Real, list, tuple)):
                self.problems.add(path, f"got {value!r}; expected a dict with a dataset")
            return
        read = keys_read(Runner.build_dataloader, "dataloader_cfg")
        takes = arguments_of(DataLoader)
        known = {name: takes.known.get(name, Argument()) for name in {*takes.known, *read}}
        loader = Arguments(known)
        parts = {
            "dataset": Place(DATASETS),
            "sampler": Place(DATA_SAMPLERS, given=("dataset", "seed")),
            "batch_sampler": Place(DATA_SAMPLERS, given=("sampler", "batch_size")),
            "collate_fn": Place(FUNCTIONS, is_whole=False),
            "worker_init_fn": Place(FUNCTIONS, is_whole=False),
        }
        plain = {key: member for key, member in value.items() if key not in parts}
        self.arguments(plain, path, DataLoader, loader, Place(DATASETS, is_whole=False))
        if value.get("num_workers", 0) == 0 and value.get("persistent_workers"):
            self.problems.add(
                join(path, "persistent_workers"),
                f"{path} has no worker that could stay; add {path}.persistent_workers=False",
            )
        for name in ("dataset", "sampler"):
            if name not in value and not near_misses(name, value):
                self.problems.add(path, f"a dataloader needs {name!r}")
        for key, place in parts.items():
            is_needed = key == "dataset" and key in value
            if isinstance(value.get(key), (Mapping, str)) or (is_needed and value[key] is None):
                self.component(value[key], join(path, key), place)


def did_you_mean_type(value: Mapping) -> str:
    """Returns the question about a misspelt "type", nothing where no key is one."""
    found = [key for key in value if is_one_edit(str(key), "type")]
    return f", but {', '.join(map(repr, found))}; did you mean type?" if found else ""


def _is(owner: Callable, cls: type) -> bool:
    return isinstance(owner, type) and issubclass(owner, cls)

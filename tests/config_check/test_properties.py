"""Any key of a shipped config, misspelt by one letter."""

from __future__ import annotations

import copy
import re
import string
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmdino.config_check import check_config
from mmdino.config_check.sections import MMENGINE_HOOKS
from mmdino.config_check.top_level import keys_of_runner, runner_class

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("dino_demo.py", "dino_vits16_300ep.py", "linear/demo.py")


def paths(node, path=()):
    """The path of every key of a config, at any depth."""
    members = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in members:
        if isinstance(key, str):
            yield (*path, key)
        if isinstance(value, (dict, list, tuple)):
            yield from paths(value, (*path, key))


def is_name(path):
    """Whether a key is any name that its author likes: a hook, or a variable of the config."""
    return path[0] == "default_hooks" and len(path) == 2 and path[1] not in MMENGINE_HOOKS


CASES = [
    (name, path)
    for name in NAMES
    for cfg in [Config.fromfile(CONFIGS / name)]
    for path in paths(cfg.to_dict())
    if path[0] in keys_of_runner(runner_class(cfg)) and not is_name(path)
]


@st.composite
def misspelt(draw):
    """A key of a config, and the same with a letter added, left out, exchanged or swapped."""
    name, path = draw(st.sampled_from(CASES))
    word = path[-1]
    place = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    start, end = word[:place], word[place + 1 :]
    wrong = draw(
        st.sampled_from(
            [
                start + letter + word[place:],
                start + end,
                start + letter + end,
                start + end[:1] + word[place] + end[1:],
            ]
        ).filter(lambda wrong: wrong != word and wrong)
    )
    return name, path, wrong


@settings(derandomize=True, deadline=None, max_examples=150)
@given(misspelt())
def test_a_misspelt_key_is_found_and_the_right_one_named(case):
    name, path, wrong = case
    tree = copy.deepcopy(Config.fromfile(CONFIGS / name).to_dict())
    node = tree
    for part in path[:-1]:
        node = node[part]
    if wrong in node:
        return
    items = [(wrong if key == path[-1] else key, value) for key, value in node.items()]
    node.clear()
    node.update(items)
    try:
        found = "\n".join(check_config(Config(tree)))
    except ValueError as error:
        found = str(error)
    assert re.search(rf"(?<!\w){path[-1]}(?!\w)", found), (name, path, wrong, found)

"""The model index lists every method's configs, with the figures that the other texts have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
METAFILES = [
    ROOT / path for path in yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
]
MODELS = {
    model["Config"]: model
    for path in METAFILES
    for model in yaml.safe_load(path.read_text())["Models"]
}
WITH_RESULTS = {config: model for config, model in MODELS.items() if model["Results"]}
PUBLISHED = "published by the authors, not reproduced here: "
OWN = re.compile(r"our own run \((docs/(?:results|small_data)\.md)\): (python tools/train\.py .*)")
COMMENT = re.compile(r"[Pp]ublished[^:;]*:[^;.]*?(?:k-NN ([\d.]+), )?linear ([\d.]+\d)")
FINE_TUNED = re.compile(r"Published[^:;]*fine-tuned: ([\d.]+\d)")


def figures(model):
    """The figures of a model by the names of their metrics."""
    (result,) = model["Results"]
    return {
        name.removesuffix(" Top 1 Accuracy"): value for name, value in result["Metrics"].items()
    }


def text_of_comments(path):
    lines = [line for line in path.read_text().splitlines() if line.startswith("#")]
    return " ".join(line.lstrip("# ") for line in lines)


def published_in_config(path):
    """The figures that the comments of a config give as published, none if there are none."""
    text = text_of_comments(path)
    if fine_tuned := FINE_TUNED.search(text):
        return {"Fine-tuned": float(fine_tuned[1])}
    found = COMMENT.search(text)
    if found is None:
        return {}
    pair = {"k-NN": found[1], "Linear": found[2]}
    return {name: float(value) for name, value in pair.items() if value}


def test_every_config_of_a_method_is_listed_once():
    names = [
        model["Name"] for path in METAFILES for model in yaml.safe_load(path.read_text())["Models"]
    ]
    assert len(names) == len(set(names)) == len(MODELS)
    folders = {path.parent for path in METAFILES}
    assert set(MODELS) == {
        path.relative_to(ROOT).as_posix() for folder in folders for path in folder.glob("*.py")
    }
    assert sorted(METAFILES, key=METAFILES.index) == METAFILES
    assert set(METAFILES) == set(ROOT.glob("configs/**/metafile.yml"))


def test_every_model_is_in_the_collection_of_its_file():
    for path in METAFILES:
        meta = yaml.safe_load(path.read_text())
        (collection,) = meta["Collections"]
        assert {model["In Collection"] for model in meta["Models"]} == {collection["Name"]}
        if "README" in collection:
            assert (ROOT / collection["README"]).is_file()


@pytest.mark.parametrize("config", MODELS)
def test_an_entry_describes_its_config(config):
    model, train_cfg = MODELS[config], Config.fromfile(ROOT / config).train_cfg
    assert model["Name"] == Path(config).stem
    assert model["Metadata"]["Epochs"] == train_cfg.max_epochs


def test_results_say_where_they_are_from():
    for model in MODELS.values():
        origin = model["Metadata"].get("Results From")
        assert (origin is None) == (not model["Results"])
        assert origin is None or origin.startswith(PUBLISHED) or OWN.fullmatch(origin)


@pytest.mark.parametrize("config", MODELS)
def test_published_figures_are_those_of_the_config(config):
    published = published_in_config(ROOT / config)
    origin = MODELS[config]["Metadata"].get("Results From", "")
    if origin.startswith(PUBLISHED):
        assert figures(MODELS[config]) == published
    else:
        # A config may quote the figures of another recipe, but has none of its own.
        assert not published


def test_published_figures_are_those_of_the_readme():
    compared = 0
    for config, model in WITH_RESULTS.items():
        readme = (ROOT / config).parent / "README.md"
        if not model["Metadata"]["Results From"].startswith(PUBLISHED) or not readme.is_file():
            continue
        (row,) = [
            line for line in readme.read_text().splitlines() if f"| `{model['Name']}` |" in line
        ]
        cell = row.rstrip("| ").rpartition("|")[2].split("(")[0]
        assert [float(number) for number in cell.split("/")] == list(figures(model).values())
        compared += 1
    assert compared == 15


def test_our_own_figures_and_commands_are_those_of_their_page():
    for config, model in WITH_RESULTS.items():
        own = OWN.fullmatch(model["Metadata"]["Results From"])
        if own:
            page, command = own.groups()
            text = (ROOT / page).read_text().replace(" \\\n   ", "")
            (value,) = figures(model).values()
            assert f"{value}" in text
            assert config in command
            assert (ROOT / config).stem.split("_")[-1] == "demo" or command in text

"""The page says what the run has, and no text of the run becomes markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mmdino.engine.hooks.collapse_monitor_hook import Told
from mmdino.report.page import (
    Pictures,
    accuracy_text,
    collapse_text,
    commands,
    page,
    state_text,
)
from mmdino.report.pictures import Images, Maps, Neighbours
from mmdino.report.work_dir import Message, Run, SavedCheckpoint
from mmdino.visualization import TrainingCurves

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&$heading\x1b[2J"
WATCHED = "default_hooks = dict(collapse_monitor=dict(type='mmdino.CollapseMonitorHook'))"
VOID = {"meta", "link", "img", "br", "line", "circle", "path", "text"}


class Page(HTMLParser):
    """A page's elements, texts and the data of its charts.

    Args:
        html: The page.
    """

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        # What is not closed in order is no page that all browsers show alike.
        optional = {"li", "td", "th", "tr", "p", "dt", "dd"}
        while self.open and self.open[-1] != tag and self.open[-1] in optional:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag):
        """Texts within elements of a kind."""
        return [data for name, data in self.texts if name == tag]


def run_of(**changes):
    """A run that stopped after 20 of 40 iterations, ten an epoch."""
    iteration = np.arange(20) + 1
    curves = TrainingCurves(
        entropy_bound=5.0,
        iteration=iteration,
        loss=np.linspace(5, 3, 20),
        teacher_entropy=np.linspace(4, 2, 20),
        kl=np.linspace(2, 1, 20),
        feature_std=np.linspace(1, 0.5, 20),
        knn=((0, 20.0, None), (10, 65.0, None), (20, 60.0, None)),
        quality=((0, {"features/rankme": 2.0}), (20, {"features/neighbor_overlap": 30.0})),
        iterations_per_epoch=10,
    )
    options = {
        "folder": Path("runs/mine"),
        "config_path": Path("runs/mine/mine.py"),
        "config_text": f"train_cfg = dict(max_epochs=4)\n{WATCHED}\n",
        "curves": curves,
        "done": 20,
        "total": 40,
        "checkpoints": (SavedCheckpoint(Path("runs/mine/epoch_1.pth"), 10),),
        "environment": {"Python": "3.11"},
    }
    return Run(**{**options, **changes})


def pictures(names=("a.jpg", "b.jpg", "c.jpg")):
    """Pictures of images of noise."""
    rng = np.random.default_rng(0)
    images = Images(
        [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in names], names, (0, 0, 1), "all"
    )
    patches = [image[:3, :4] for image in images.pixels]
    maps = [Maps(iteration, patches, patches) for iteration in (0, 10)]
    found = Neighbours(10, np.array([[1, 2]]), np.array([[0.9, 0.1]]))
    views = [[image, image[:8, :8, 0]] for image in images.pixels[:2]]
    return Pictures(views=views, mapped=images, maps=maps, images=images, neighbours=[found])


def test_the_page_has_all_parts():
    parsed = Page(page(run_of(), pictures()))
    assert parsed.text("h1") == ["mine"]
    assert parsed.text("h2") == [
        "Curves",
        "Views",
        "What the network sees",
        "Nearest neighbours",
        "Go on",
        "Config",
        "Versions and machine",
    ]
    assert parsed.text("h3") == [
        "Loss (nats)",
        "Accuracy of frozen features (%)",
        "Effective rank (dimensions)",
        "Same neighbours in two views (%)",
        "Entropy (nats)",
        "Feature spread",
        "Attention of the class token",
        "Principal components of the patches",
    ]
    assert not parsed.open
    # Views; photographs and maps twice; the image that asks and its neighbours.
    assert len(parsed.all("img")) == 4 + 2 * (3 + 6) + 3
    assert "same" in [cell.get("class", "").split(" ")[0] for cell in parsed.all("td")]


def test_the_page_needs_nothing_else():
    parsed = Page(page(run_of(), pictures()))
    sources = [attributes.get("src") or attributes.get("href") for _, attributes in parsed.elements]
    assert all(source.startswith("data:") for source in sources if source)
    policies = [attributes.get("content", "") for attributes in parsed.all("meta")]
    assert any("default-src 'none'" in policy for policy in policies)


def test_the_script_gets_the_values_of_the_curves():
    parsed = Page(page(run_of(), Pictures()))
    charts = [json.loads(text) for text in parsed.text("script") if text.startswith("{")]
    series = {each["label"]: each for chart in charts for each in chart["series"]}
    assert series["k-NN"]["x"] == [0, 10, 20]
    assert series["k-NN"]["y"] == [20.0, 65.0, 60.0]
    assert charts[0]["name"] == "epoch"
    assert charts[0]["per"] == 10


def test_hostile_names_stay_text():
    config = Path(f"runs/{HOSTILE.replace('/', '_')}.py")
    run = run_of(
        folder=Path("runs") / HOSTILE,
        config_path=config,
        config_text=f"{WATCHED}\nname = {HOSTILE!r}",
        environment={HOSTILE: HOSTILE},
        messages=[Message("2026", "WARNING", HOSTILE)],
        checkpoints=[SavedCheckpoint(Path(HOSTILE), 10)],
        collapse=Told(3, HOSTILE),
    )
    shown = pictures((HOSTILE, HOSTILE, HOSTILE))
    html = page(run, Pictures(**{**vars(shown), "missing": [HOSTILE]}))
    parsed = Page(html)
    plain = Page(page(run_of(), shown))
    assert len(parsed.all("script")) == len(plain.all("script"))
    assert len(parsed.all("img")) == len(plain.all("img"))
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert "\x1b" not in html
    assert parsed.text("h1")[0].endswith("$heading\\x1b[2J")


def test_many_and_large_pictures_stay_below_three_megabytes():
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(6)]
    images = Images(pixels, ["a"] * 6, (), "")
    maps = [Maps(i, [p[:30, :30] for p in pixels], [p[:30, :30] for p in pixels]) for i in range(8)]
    found = [Neighbours(i, np.zeros((6, 6), int), np.ones((6, 6))) for i in range(2)]
    full = Pictures(
        views=[pixels * 2] * 4, mapped=images, maps=maps, images=images, neighbours=found
    )
    long = np.arange(100_000) + 1
    curves = TrainingCurves(iteration=long, loss=np.sin(long), feature_std=np.cos(long))
    assert len(page(run_of(curves=curves, config_text="a" * 10**6), full)) < 3e6


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Stopped at iteration 20 of 40 (epoch 2 of 4)."),
        ({"state": "running", "total": None}, "Running, at iteration 20 (epoch 2)."),
        ({"state": "finished", "done": 40}, "Finished at iteration 40 of 40 (epoch 4 of 4)."),
        ({"done": 0}, "Stopped before the first values were logged."),
    ],
)
def test_the_state_is_a_sentence(changes, expected):
    assert state_text(run_of(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected", "is_good"),
    [
        ({}, "No sign of a collapse.", True),
        ({"config_text": "depth = 3"}, "Nothing watched for a collapse", False),
        ({"collapse": Told(12, "all is one.")}, "since about iteration 12: all is one.", False),
        (
            {"collapse": Told(12, "all is one.", 18)},
            "no sign of it any more from iteration 18",
            True,
        ),
    ],
)
def test_a_collapse_is_said_with_its_iteration(changes, expected, is_good):
    text, good = collapse_text(run_of(**changes))
    assert expected in text
    assert good is is_good


def test_accuracies_are_compared_with_the_untrained_network():
    assert accuracy_text(run_of()) == (
        "k-NN: 20.0 % untrained, 60.0 % at epoch 2, best 65.0 % at epoch 1."
    )
    assert accuracy_text(run_of(curves=TrainingCurves())) == ""


def test_commands_can_be_copied():
    text = "val_cfg = dict(type='mmdino.KNNValLoop')\n"
    run = run_of(folder=Path("my runs"), config_path=Path("my runs/mine.py"), config_text=text)
    found = commands(run)
    assert found["Resume"] == "mmdino train 'my runs/mine.py' --work-dir 'my runs' --resume"
    assert found["Evaluate"] == "mmdino test 'my runs/mine.py' runs/mine/epoch_1.pth"
    longer = commands(run_of(state="finished", done=40))["Train longer"]
    assert longer.endswith("--resume --cfg-options train_cfg.max_epochs=8")
    ranks = {"Distributed training": "True", "GPU number": "4"}
    parallel = commands(run_of(environment=ranks))["Resume"]
    assert parallel.startswith("tools/dist_train.sh runs/mine/mine.py 4 --work-dir")
    assert not commands(run_of(config_path=None))


def test_commands_that_would_refuse_the_run_are_not_named():
    bands = [1.0] * 8
    text = f"model = dict(data_preprocessor=dict(mean={bands}, std={bands}))\nval_cfg = None\n"
    assert set(commands(run_of(config_text=text))) == {
        "Resume",
        "Search a folder of images",
        "Write this report again",
    }


def test_a_run_without_values_has_a_page():
    parsed = Page(page(Run(folder=Path("runs/new")), Pictures(missing=["Maps: no checkpoint."])))
    assert "Nothing has been logged yet." in parsed.text("p")
    assert "Maps: no checkpoint." in parsed.text("li")

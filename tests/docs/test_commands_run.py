"""The commands of the pages run, on tiny data and networks, one after the other as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import tiny_checkout
import tiny_configs
import tiny_tools
from doc_pages import PAGES, ROOT, blocks_of, shell_commands, tool_and_arguments

from mmdino_cli.main import main as mmdino

BENCHMARKS = {
    **{name: name for name in ("curate", "end_to_end", "evaluations", "pipeline", "small_images")},
    **dict.fromkeys(("ema", "knn", "loss", "memory_format", "runner_overhead"), "benchmarks"),
    "step": "benchmarks",
    "views": "views",
}
"""Which test runs a benchmark."""
NOT_RUN = {
    "pip *": "installs packages",
    "mim *": "needs openmim",
    "pytest *": "needs a GPU",
    "*tools/slurm_train.sh *": "needs SLURM",
    "tensorboard *": "a server",
    "*WandbVisBackend*": "needs an account",
    "*TensorboardVisBackend*": "needs a package of its own: tests/engine/test_training.py",
    "*MLflowVisBackend*": "needs a package of its own: tests/engine/test_training.py",
    "*dino_vitl16_fsdp.py *": "several processes: tests/configs/test_pretraining_configs.py",
    "*vicreg_shapes.py *": "run by tests/docs/test_add_a_method.py",
    **{
        f"*tools/benchmarks/{name}.py *": f"run by tests/tools/benchmarks/test_{test}.py"
        for name, test in BENCHMARKS.items()
    },
}
"""Commands that are not run, each with the reason. Each matches one on a page."""
PLACES = {
    r"\bCHECKPOINT\b": tiny_checkout.NETWORK,
    r"\bSOURCE\b": tiny_checkout.NETWORK,
    r"\b(PATH|PHOTOS|PHOTOGRAPHS)\b": "photos",
    r"^(DINO_|DISTILLED_)?CONFIG$": "configs/finetune/demo.py",
    r"\{000\.\.146\}": "{000..000}",
}
"""What stands for the names that a reader puts in, and for the many shards."""
SMALLER = {
    "attention_jaccard.py --drawn": "--drawn 4",
    "curate.py balance": "--clusters 2 --images 4",
    "curate.py calibrate": "--images 8 --workers 0 --precision 0.5",
    "curate.py embed": "--workers 0",
    "compare.py": "--linear-c 1 --seeds 0",
    "diagnose.py": "--images 4 --size 32",
    "eval_copy.py": "--size 64 --workers 0",
    "eval_retrieval.py": "--size 64 --workers 0",
    "eval_video.py": "--size 48",
    "extract_features.py": "--workers 0",
    "knn.py": "--workers 0",
    f"landscape.py {tiny_checkout.NETWORK}": "--points 3 --lines 1 --images 4",
    "landscape.py": "--points 3 --lines 1 --images 4 --no-plane",
    "logistic_regression.py": "--workers 0",
    "visualize_attention.py photos": "--every 8",
    "visualize_attention.py photos/": "--every 8",
}
"""Options that make tools faster, after those of the page."""
OUTPUT_OPTIONS = ("--out", "--figure", "--json", "--csv", "--work-dir")
OUTPUTS = {
    "curate.py embed": [3],
    "curate.py calibrate": [3],
    "curate.py dedup": [2],
    "curate.py retrieve": [3],
    "curate.py balance": [2],
    "extract_features.py": [2],
    "knn.py": [0, 1],
    "logistic_regression.py": [0, 1],
    "model_converters/convert.py": [1],
    "model_converters/export_onnx.py": [1],
    "model_converters/extract.py": [1],
}
"""Places of the arguments that a tool writes to."""
BEFORE = {
    "docs/report.md": ["python tools/train.py configs/dino_demo.py"],
    "docs/tools.md": ["python tools/train.py configs/dino_demo.py"],
    "docs/evaluate/weights.md": ["python tools/train.py configs/dino_demo.py"],
}
"""What a page takes as done."""


def commands(page):
    """Words of the commands in the blocks of a page."""
    return [words for code in blocks_of(page, "bash") for words in shell_commands(code)]


def reason(words):
    """Why a command is not run, if it is not."""
    line = f"{' '.join(words)} "
    return next((why for pattern, why in NOT_RUN.items() if fnmatchcase(line, pattern)), None)


ALL = {page: commands(page) for page in PAGES}
WITH_COMMANDS = [page for page, found in ALL.items() if not all(map(reason, found))]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What all pages need, written once."""
    return tiny_checkout.write_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Finished runs, which several pages have."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def checkout(source, kept, tmp_path, monkeypatch):
    """The present folder: like a checkout, where configs are those of short runs."""
    monkeypatch.chdir(tiny_checkout.link_checkout(source, tmp_path))
    with tiny_checkout.tiny_runs(monkeypatch, kept):
        yield tmp_path


def placed(words):
    """Words of a command with tiny files in place of what a reader puts in."""
    for pattern, file in PLACES.items():
        words = [re.sub(pattern, file, word) for word in words]
    return words


def run(words):
    """Runs a command in this process, and looks for the files that it names as output."""
    if words[0] == "tar":
        subprocess.run(words, check=True)
    elif words[:2] == ["python", "-"]:
        exec(compile(words[2], "here-document", "exec"), {})
    elif (found := tool_and_arguments(words)) is not None:
        run_tool(*found)
    else:
        mmdino(words[1:])


def run_tool(tool, arguments):
    kind = next((kind for kind in SMALLER | OUTPUTS if is_kind(kind, tool, arguments)), tool)
    places = OUTPUTS.get(kind, [])
    outputs = [arguments[place] for place in places]
    outputs += [
        arguments[place + 1] for place, word in enumerate(arguments) if word in OUTPUT_OPTIONS
    ]
    if tool == "landscape.py":
        # A classifier, which is made when the config is known.
        arguments = [word.replace(tiny_checkout.NETWORK, "classifier.pth") for word in arguments]
    elif tool not in ("train.py", "test.py"):
        for word in arguments:
            path = Path(word)
            if path.suffix == ".pth" and word not in outputs and tiny_configs.may_be_made(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(Path(tiny_checkout.NETWORK).resolve())
    if "--data" in arguments:
        # The next of the commands that a reader chooses from would be refused there.
        shutil.rmtree("work_dirs/dino_photos", ignore_errors=True)
    tiny_tools.main_of(tool)([*arguments, *SMALLER.get(kind, "").split()])
    assert [path for path in outputs if not Path(path).exists()] == []


def is_kind(kind, tool, arguments):
    name, _, command = kind.partition(" ")
    return name == tool and command in ("", *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_of_a_page_run(page, checkout):
    todo = [line.split() for line in BEFORE.get(page, ())]
    todo += [words for words in ALL[page] if reason(words) is None]
    for words in todo:
        words = placed(words)
        try:
            run(words)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and not error.code:
                continue
            raise AssertionError(f"{' '.join(words)}: {error}") from error


def test_what_is_not_run_is_on_a_page():
    lines = [f"{' '.join(words)} " for found in ALL.values() for words in found]
    assert [p for p in NOT_RUN if not any(fnmatchcase(line, p) for line in lines)] == []


def test_tests_that_run_what_is_not_run_here_exist():
    for pattern, why in NOT_RUN.items():
        for path in re.findall(r"tests/[\w/]+\.py", why):
            text = (ROOT / path).read_text()
            if why.startswith("run by"):
                assert re.search(r"(\w+)\.py", pattern)[1] in text, why


def test_blocks_are_of_known_languages():
    found = {language for page in PAGES for language, _ in blocks_of(page)}
    assert {language for language in found if not language.startswith("{")} == {
        *("", "bash", "python", "text")
    }

"""The report of a real run: from the command line, and in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
import tiny_tools
from PIL import Image

from mmdino.report import REPORT
from mmdino.utils.folder_lock import unlock_folder

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
CONSOLE = re.compile(r":CONSOLE[:(]\d+\)?\] .*")
"""A line in which Chromium repeats what a page writes to its console, errors of scripts too."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A finished run, and images beside it."""
    root = tmp_path_factory.mktemp("root")
    tiny_tools.write_configs(root)
    for index in range(4):
        tiny_tools.write_image(root / "images" / f"<b>{index}.png", 40, 60, seed=index)
    command = [str(root / "tiny.py"), "--work-dir", str(root / "run"), "--cfg-options"]
    figure = "default_hooks.training_figure"
    options = [f"{figure}._delete_=True", f"{figure}.type=mmdino.TrainingFigureHook"]
    tiny_tools.main_of("train.py")([*command, *options])
    unlock_folder(root / "run")
    return root


@pytest.fixture
def report(root, monkeypatch, capsys):
    """Runs the tool as from a shell, in the folder of the run."""
    monkeypatch.chdir(root)
    return lambda *arguments: tiny_tools.end("report.py", arguments, monkeypatch, capsys)


def test_a_work_dir_is_enough(root, report):
    code, out, _ = report("run")
    assert code == 0
    assert "Finished at iteration 4 of 4 (epoch 2 of 2). No sign of a collapse. k-NN: " in out
    assert f"Wrote run/{REPORT}" in out
    assert "Missing" not in out
    html = (root / "run" / REPORT).read_text()
    assert "<th class=apart>untrained</th><th>epoch 1</th><th>epoch 2</th>" in html
    assert "8 of the 8 images of the validation" in html
    assert "mmdino train run/tiny.py --work-dir run --resume" in html


def test_other_images_can_be_shown(root, report):
    code, out, _ = report("run", "--images", "images", "--out", "other.html")
    assert (code, "Missing" in out) == (0, False)
    html = (root / "other.html").read_text()
    assert "4 of the 4 images of images" in html
    assert "&lt;b&gt;0.png" in html
    assert "<b>" not in html


def test_a_copy_without_data_and_weights_says_what_is_missing(root, report):
    copy = root / "copy"
    shutil.copytree(root / "run", copy)
    for checkpoint in copy.glob("*.pth"):
        checkpoint.unlink()
    config = copy / "tiny.py"
    config.write_text(config.read_text().replace("mmdino.DrawnShapes", "their.DataSet"))
    code, out, _ = report("copy")
    assert code == 0
    assert re.search(r"Missing: Views of training images: .*their\.DataSet", out)
    assert "no checkpoint yet. --images FOLDER" in out
    assert "<h2>Curves</h2>" in (copy / REPORT).read_text()


@pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed")
@pytest.mark.parametrize("width", [400, 1280])
def test_a_browser_shows_the_page_without_an_error(root, report, tmp_path, width):
    report("run")
    page = root / "run" / REPORT
    # The pointer moves over all charts, and what they show becomes the title.
    shown = """<script>
for (const plot of document.querySelectorAll(".plot")) {
  const box = plot.getBoundingClientRect();
  plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width * 0.9}));
}
const tips = [...document.querySelectorAll(".tip")].map(tip => tip.textContent);
const wide = document.documentElement.scrollWidth;
console.log("shown " + tips.join("|") + " wide " + wide);
</script></body>"""
    moved = tmp_path / "moved.html"
    moved.write_text(page.read_text().replace("</body>", shown))
    # A window of a browser is never as narrow as a phone; a frame is.
    frame = tmp_path / "frame.html"
    size = f"width:{width}px;height:1200px"
    frame.write_text(
        f'<body style="margin:0"><iframe style="border:0;{size}" src="moved.html"></iframe>'
    )
    screenshot = tmp_path / "page.png"
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--window-size=1280,1200", f"--screenshot={screenshot}", frame.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = CONSOLE.findall(done.stderr)
    # That one line is ours; anything else would be an error or a warning.
    assert len(lines) == 1, lines
    assert "loss" in lines[0]
    assert "k-NN" in lines[0]
    assert f' wide {width}"' in lines[0]
    pixels = np.asarray(Image.open(screenshot).convert("L"))
    assert pixels.shape == (1200, 1280)
    assert pixels[:, :width].std() > 10

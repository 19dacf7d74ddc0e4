"""The figures of a comparison show all runs, by colour, style and final accuracy."""

from __future__ import annotations

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from mmdino.visualization.comparison_figure import (
    ComparedRun,
    draw_comparison,
    draw_logged,
    write_figure,
)

NAMES = [f"method_{number}_with_a_long_name" for number in range(12)]


def make_run(name="dino", seed=0, last=60.0, **changes):
    """A run with validations at 0, 1000 and 2000 images, which takes four hours."""
    epochs = np.linspace(0.1, 2, 20)
    return ComparedRun(
        name=name,
        seed=seed,
        **{
            "images": [0, 1000, 2000],
            "processor_s": [0, 7200, 14400],
            "top1": [30.0, 50.0, last],
            "logged": {"kl": np.stack([epochs, 1 / epochs], axis=1)},
            **changes,
        },
    )


def thick(ax):
    return [line for line in ax.lines if line.get_linewidth() > 1]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_accuracy_is_drawn_against_images_and_hours():
    figure = draw_comparison([make_run()])
    by_images, by_time = figure.axes
    (line,) = by_images.lines
    np.testing.assert_allclose(line.get_xdata(), [0, 1000, 2000])
    np.testing.assert_allclose(line.get_ydata(), [30, 50, 60])
    assert by_images.get_xlabel() == "images seen"
    assert by_images.get_ylabel() == "k-NN top-1 (%)"
    np.testing.assert_allclose(by_time.lines[0].get_xdata(), [0, 2, 4])
    assert by_time.get_xlabel() == "processor time (hours)"


@pytest.mark.parametrize(
    ("seconds", "unit"), [(7200, "hours"), (7199, "minutes"), (119, "seconds"), (0.5, "seconds")]
)
def test_the_unit_of_time_fits_the_runs(seconds, unit):
    figure = draw_comparison([make_run(processor_s=[0, seconds / 2, seconds])])
    assert figure.axes[1].get_xlabel() == f"processor time ({unit})"


def test_seeds_are_thin_lines_and_their_mean_a_thick_one():
    figure = draw_comparison([make_run(last=60), make_run(seed=1, last=64)])
    for ax in figure.axes:
        (mean,) = thick(ax)
        np.testing.assert_allclose(mean.get_ydata(), [30, 50, 62])
        seeds = [line for line in ax.lines if line is not mean]
        assert [line.get_ydata()[-1] for line in seeds] == [60, 64]
        assert {line.get_color() for line in ax.lines} == {mean.get_color()}
    assert legend(figure) == ["dino  62.0 \u00b1 2.8"]


def test_a_seed_that_stopped_early_does_not_stop_the_figure():
    short = make_run(seed=1, images=[0, 1000], processor_s=[0, 9000], top1=[30, 40])
    (mean,) = thick(draw_comparison([make_run(), short]).axes[0])
    np.testing.assert_allclose(mean.get_ydata(), [30, 45])


def test_the_legend_is_in_the_order_of_the_last_accuracy():
    figure = draw_comparison([make_run("swav", last=40), make_run("byol", last=70)])
    assert legend(figure) == ["byol  70.0", "swav  40.0"]


def test_twelve_runs_look_different():
    runs = [make_run(name, last=last) for last, name in enumerate(NAMES)]
    lines = draw_comparison(runs).axes[0].lines
    looks = {(line.get_color(), str(line._dash_pattern)) for line in lines}
    assert len(looks) == len(NAMES)


def test_a_run_has_one_look_in_both_figures():
    bare = make_run("byol", logged={})
    runs = [bare, make_run("dino")]
    drawn = draw_comparison(runs).axes[0].lines[1]
    logged = draw_logged(runs, ["kl"]).axes[0].lines[0]
    assert drawn.get_color() == logged.get_color()


def test_runs_without_a_validation_are_left_out():
    empty = make_run("failed", images=[], processor_s=[], top1=[])
    assert legend(draw_comparison([empty, make_run()])) == ["dino  60.0"]
    with pytest.raises(ValueError, match="no run has been validated"):
        draw_comparison([empty])


def test_logged_values_are_drawn_against_epochs_with_the_bound_of_entropies():
    entropy = np.stack([np.linspace(0.5, 2, 4), [4.0, 3.0, 2.5, 2.0]], axis=1)
    run = make_run(logged={"teacher_entropy": entropy, "kl": entropy}, entropy_bound=5.5)
    figure = draw_logged([run, make_run("byol", logged={})], ["teacher_entropy", "kl"])
    first, second = figure.axes
    assert [ax.get_title("left") for ax in figure.axes] == ["(a) teacher_entropy", "(b) kl"]
    np.testing.assert_allclose(first.lines[0].get_xdata(), [0.5, 1, 1.5, 2])
    np.testing.assert_allclose(first.lines[0].get_ydata(), [4, 3, 2.5, 2])
    np.testing.assert_allclose(first.lines[1].get_ydata(), 5.5)
    assert [text.get_text() for text in first.texts] == ["ln K = 5.50"]
    assert len(second.lines) == 1
    assert legend(figure) == ["dino"]


def test_a_value_that_no_run_logged_is_refused():
    with pytest.raises(ValueError, match="no run has logged 'entropy'"):
        draw_logged([make_run()], ["kl", "entropy"])


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3 numbers of images, 3 times and 2 accuracies"):
        make_run(top1=[1, 2])


@pytest.mark.parametrize("number", [1, 3, 12])
def test_no_text_is_clipped_or_covers_another(number):
    runs = [make_run(name, seed, 40.0 + seed) for name in NAMES[:number] for seed in (0, 1)]
    for figure in (draw_comparison(runs), draw_logged(runs, ["kl", "kl", "kl"])):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [ax.get_tightbbox(canvas.get_renderer()) for ax in figure.axes]
        boxes.append(figure.legends[0].get_window_extent(canvas.get_renderer()))
        for box in boxes:
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y1 <= figure.bbox.y1
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_a_name_with_dollar_signs_is_drawn_as_it_is(tmp_path):
    figure = draw_comparison([make_run("a$x^{$b")])
    write_figure(figure, tmp_path / "comparison.png")
    assert legend(figure) == ["a$x^{$b  60.0"]


def test_the_file_has_a_picture_and_the_global_style_stays(tmp_path):
    matplotlib.get_backend()  # Chosen when first asked for.
    before = matplotlib.rcParams.copy()
    write_figure(draw_comparison([make_run()]), tmp_path / "comparison.png")
    assert np.asarray(Image.open(tmp_path / "comparison.png").convert("L")).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.png"]
    assert matplotlib.rcParams == before

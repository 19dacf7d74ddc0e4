"""The figure shows the given curves and views, whichever are missing."""

from __future__ import annotations

import json
import math
from itertools import combinations

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from mmdino.visualization import (
    TrainingCurves,
    curves_as_json,
    displayable,
    draw_training_figure,
    shown_levels,
    write_training_figure,
)
from mmdino.visualization.training_figure import MAX_POINTS, running_mean, thin_out

KNN = ((0, 31.25, 70.0), (50, 60.0, 90.0), (100, 78.4, None))


def make_curves(iterations=100, knn=KNN, **changes):
    """Returns the curves of a run with 64 prototypes and epochs of 10 iterations."""
    rng = np.random.default_rng(0)
    values = {
        "iteration": np.arange(iterations) + 1,
        "loss": rng.uniform(2, 4, iterations),
        "teacher_entropy": rng.uniform(1, 3, iterations),
        "kl": rng.uniform(0.1, 1, iterations),
    }
    return TrainingCurves(
        **{
            "entropy_bound": math.log(64),
            "knn": knn,
            "iterations_per_epoch": 10,
            **values,
            **changes,
        }
    )


def make_views(num_images=2, sizes=(32, 32, 16, 16, 16)):
    rng = np.random.default_rng(0)
    return [
        [rng.integers(256, size=(size, size, 3), dtype=np.uint8) for size in sizes]
        for _ in range(num_images)
    ]


def line(ax, label):
    """Returns the line with this label."""
    return next(line for line in ax.lines if line.get_label().startswith(label))


def titles(figure):
    return [ax.get_title("left") for ax in figure.axes]


def test_all_panels_in_order():
    figure = draw_training_figure(make_curves(), make_views())
    assert titles(figure) == ["(a) Loss", "(b) k-NN", "(c) Entropy", "(d) Views of 2 images"]
    assert [ax.get_ylabel() for ax in figure.axes[:3]] == ["loss (nats)", "k-NN top-1 (%)", "nats"]


def test_loss_is_drawn_raw_and_smoothed_with_ln_k():
    curves = make_curves()
    ax = draw_training_figure(curves).axes[0]
    np.testing.assert_allclose(line(ax, "loss").get_xdata(), curves.iteration / 10)
    np.testing.assert_allclose(line(ax, "loss").get_ydata(), curves.loss)
    np.testing.assert_allclose(line(ax, "mean of 3").get_ydata()[1], curves.loss[:3].mean())
    np.testing.assert_allclose(line(ax, "ln K = 4.16").get_ydata(), math.log(64))
    low, high = ax.get_ylim()
    assert low < math.log(64) < high


def test_knn_curve_and_the_untrained_network():
    ax = draw_training_figure(make_curves()).axes[1]
    curve = line(ax, "last 78.4 %")
    np.testing.assert_allclose(curve.get_xdata(), [0, 5, 10])
    np.testing.assert_allclose(curve.get_ydata(), [31.25, 60, 78.4])
    untrained = line(ax, "untrained 31.2 %")
    assert untrained.get_linestyle() == "--"
    np.testing.assert_allclose(untrained.get_ydata(), 31.25)


def test_without_a_validation_at_the_start_there_is_no_untrained_line():
    ax = draw_training_figure(make_curves(knn=KNN[1:])).axes[1]
    assert [line.get_label() for line in ax.lines] == ["last 78.4 %"]


def test_entropy_and_divergence_with_their_bound_and_the_collapses():
    curves = make_curves()
    ax = draw_training_figure(curves).axes[2]
    np.testing.assert_allclose(
        line(ax, "teacher entropy").get_ydata(), running_mean(curves.teacher_entropy, 3)
    )
    np.testing.assert_allclose(line(ax, "KL(teacher").get_ydata(), running_mean(curves.kl, 3))
    np.testing.assert_allclose(line(ax, "ln K").get_ydata(), math.log(64))
    places = {text.get_text(): text.get_position()[1] for text in ax.texts}
    uniform, one_prototype = sorted(places, key=lambda text: places[text], reverse=True)
    assert "uniform" in uniform
    assert places[uniform] > math.log(64), "above where an entropy can be"
    assert "one prototype" in one_prototype
    assert places[one_prototype] < 0, "below where an entropy can be"
    assert min(ax.get_yticks()) == 0


def test_a_divergence_above_ln_k_stays_within_the_axes():
    ax = draw_training_figure(make_curves(kl=np.full(100, 20.0))).axes[2]
    assert ax.get_ylim()[1] > 20


@pytest.mark.parametrize(
    ("iterations", "per_epoch", "name", "end"),
    [(100, 10, "epoch", 10), (15, 10, "iteration", 15), (100, None, "iteration", 100)],
)
def test_x_axis_counts_epochs_from_the_second_on(iterations, per_epoch, name, end):
    figure = draw_training_figure(make_curves(iterations, (), iterations_per_epoch=per_epoch))
    assert figure.axes[-1].get_xlabel() == name
    assert figure.axes[-1].get_xlim() == (0, end)


@pytest.mark.parametrize(
    ("missing", "panels"),
    [
        ({"knn": ()}, ["(a) Loss", "(b) Entropy"]),
        ({"loss": ()}, ["(a) k-NN", "(b) Entropy"]),
        ({"kl": ()}, ["(a) Loss", "(b) k-NN", "(c) Entropy"]),
        ({"kl": (), "teacher_entropy": (), "loss": (), "iteration": ()}, ["(a) k-NN"]),
    ],
)
def test_what_is_missing_has_no_panel(missing, panels):
    assert titles(draw_training_figure(make_curves(**missing))) == panels


def test_methods_without_prototypes_have_the_spread_of_features():
    curves = make_curves(
        entropy_bound=None, teacher_entropy=(), kl=(), feature_std=np.linspace(0.9, 0.1, 100)
    )
    figure = draw_training_figure(curves)
    assert titles(figure) == ["(a) Loss", "(b) k-NN", "(c) Feature spread"]
    loss, _, spread = figure.axes
    assert loss.get_ylabel() == "loss"
    assert not [line for line in loss.lines if line.get_label().startswith("ln K")]
    assert spread.get_ylim() == (0, 1)
    assert curves_as_json(curves)["train"]["feature_std"][0] == 0.9
    assert curves_as_json(curves)["entropy_bound"] is None


def test_prototypes_in_use_are_beside_the_spread_of_features():
    used = np.linspace(0.1, 0.6, 100)
    curves = make_curves(feature_std=np.linspace(0.9, 1.1, 100), used_prototypes=used)
    *others, spread = draw_training_figure(curves).axes
    assert len(others) == 3
    assert spread.get_title("left") == "(d) Feature spread and used prototypes"
    drawn = line(spread, "used prototypes").get_ydata()
    np.testing.assert_allclose(drawn, running_mean(used, 3))
    assert spread.get_ylim()[1] > 1.1
    assert curves_as_json(curves)["train"]["used_prototypes"][0] == 0.1


def test_the_legend_of_two_accuracies_is_beside_the_title():
    points = [(done, {"ridge/top1": 31.8}) for done in (0, 50, 100)]
    figure = draw_training_figure(make_curves(quality=points))
    figure.canvas.draw()
    ax = figure.axes[1]
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "k-NN 31.2 to 78.4 %",
        "linear 31.8 to 31.8 %",
    ]
    title = next(text for text in ax.get_children() if "Accuracy" in getattr(text, "_text", ""))
    assert title.get_window_extent().x1 < legend.get_window_extent().x0


def test_views_alone():
    figure = draw_training_figure(TrainingCurves(), make_views(1))
    assert titles(figure) == ["Views of one image"]


def test_nothing_at_all_is_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_training_figure(TrainingCurves())


def test_one_iteration_is_a_dot():
    figure = draw_training_figure(make_curves(1, KNN[:1]))
    dot = line(figure.axes[0], "loss")
    assert (len(dot.get_xdata()), dot.get_marker()) == (1, "o")


def test_a_long_run_is_drawn_with_few_points_and_all_spikes():
    curves = make_curves(300_000)
    curves.loss[[70_001, 200_002]] = 50, -50
    raw = line(draw_training_figure(curves).axes[0], "loss")
    assert len(raw.get_xdata()) <= MAX_POINTS
    spikes = dict(zip(raw.get_xdata() * 10, raw.get_ydata(), strict=True))
    assert (spikes[70_002], spikes[200_003]) == (50, -50)


def test_values_that_are_not_finite_leave_a_gap_and_a_mark():
    curves = make_curves()
    curves.loss[40:60] = np.nan
    curves.loss[3] = np.inf
    curves.teacher_entropy[:] = np.nan
    ax = draw_training_figure(curves).axes[0]
    marks = line(ax, "21 not finite")
    np.testing.assert_allclose(marks.get_xdata()[:2] * 10, [4, 41])
    assert np.isnan(line(ax, "mean").get_ydata()).sum() == 18
    assert np.isfinite(ax.get_ylim()).all()


def test_running_mean_skips_what_is_not_finite():
    values = np.array([1, 2, np.nan, 4, np.inf, np.nan, np.nan])
    np.testing.assert_allclose(running_mean(values, 3), [1.5, 1.5, 3, 4, 4, np.nan, np.nan])


def test_thin_out_keeps_order_and_extremes():
    x = np.arange(1000)
    y = np.sin(x)
    y[500:510] = np.nan
    thin_x, thin_y = thin_out(x, y, max_points=100)
    assert len(thin_x) <= 100
    assert (np.diff(thin_x) > 0).all()
    assert (np.nanmin(thin_y), np.nanmax(thin_y)) == (np.nanmin(y), np.nanmax(y))


def test_views_keep_their_relative_sizes_and_do_not_overlap():
    views = make_views(num_images=3)
    figure = draw_training_figure(make_curves(), views)
    (canvas,) = figure.axes[-1].child_axes
    boxes = []
    for drawn, view in zip(canvas.images, [v for image in views for v in image], strict=True):
        assert np.array_equal(drawn.get_array(), view)
        left, right, bottom, top = drawn.get_extent()
        assert (right - left, bottom - top) == view.shape[1::-1]
        boxes.append((left, right, top, bottom))
    for (left, right, top, bottom), (left2, right2, top2, bottom2) in combinations(boxes, 2):
        assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top
    assert [text.get_text() for text in canvas.texts] == ["global, 32 px", "local, 16 px"]


def test_views_that_are_not_square_say_so():
    views = [[np.zeros((32, 48), np.uint8)] * 3]
    (canvas,) = draw_training_figure(make_curves(), views, 1).axes[-1].child_axes
    assert [text.get_text() for text in canvas.texts] == [
        "global, 32 \u00d7 48 px",
        "local, 32 \u00d7 48 px",
    ]


def test_colours_come_in_the_order_of_the_screen():
    blue = np.zeros((3, 2, 2), np.uint8)
    blue[0] = 200
    assert displayable(blue)[0, 0].tolist() == [0, 0, 200]
    assert displayable(blue, bgr=False)[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("channels", "shape"), [(1, (4, 5)), (2, (4, 5)), (3, (4, 5, 3)), (8, (4, 5, 3))]
)
def test_any_number_of_channels_can_be_shown(channels, shape):
    view = np.random.default_rng(0).integers(256, size=(channels, 4, 5), dtype=np.uint8)
    shown = displayable(view, bgr=False)
    assert shown.shape == shape
    assert np.array_equal(shown[..., 0] if len(shape) == 3 else shown, view[0])


def test_other_types_are_stretched_to_all_levels():
    view = np.array([[[-3.0, -1.0], [1.0, np.nan]]])
    assert displayable(view).tolist() == [[0, 128], [255, 0]]
    assert displayable(np.full((1, 2, 2), np.nan)).tolist() == [[0, 0], [0, 0]]


def test_bands_that_use_few_levels_are_stretched_alike_in_all_views_of_an_image():
    dark, brighter = (np.full((8, 2, 2), value, np.uint8) for value in (10, 30))
    dark[7] = 255  # which is not shown
    levels = shown_levels([dark, brighter])
    assert levels == (10, 30)
    assert displayable(dark, levels=levels).max() == 0
    assert displayable(brighter, levels=levels).min() == 255


def test_colours_are_shown_as_they_are():
    assert shown_levels([np.full((3, 2, 2), 10, np.uint8)]) is None


@pytest.mark.parametrize("shape", [(4, 5), (0, 4, 5), (2, 3, 4, 5)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        displayable(np.zeros(shape))


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="100 iterations, but 3 values of kl"):
        make_curves(kl=[1, 2, 3])


def overlaps(figure):
    """Returns pairs of overlapping texts, and texts outside of the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {}
    for ax in figure.axes:
        legend = ax.get_legend()
        texts = [ax._left_title, *ax.texts, *([legend] if legend else [])]
        texts += [text for child in ax.child_axes for text in child.texts]
        for text in texts:
            boxes[f"{ax.get_title('left')}: {text}"] = text.get_window_extent(canvas.get_renderer())
    clipped = [
        name
        for name, box in boxes.items()
        if not (figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1)
    ]
    pairs = combinations(boxes, 2)
    return clipped + [pair for pair in pairs if boxes[pair[0]].overlaps(boxes[pair[1]])]


@pytest.mark.parametrize(
    ("num_images", "sizes"),
    [
        (0, ()),
        (1, (64,) * 2 + (32,) * 6),
        (4, (64,) * 2 + (32,) * 6),
        (8, (224,) * 2 + (96,) * 10),
        (8, (32, 32)),
    ],
)
def test_no_text_covers_another_or_is_clipped(num_images, sizes):
    curves = make_curves(3000, entropy_bound=math.log(65536))
    curves.loss[::3] = np.nan
    assert overlaps(draw_training_figure(curves, make_views(num_images, sizes))) == []


def test_files_are_complete_and_no_temporary_file_is_left(tmp_path):
    curves = make_curves()
    path = tmp_path / "figures" / "run.png"
    for _ in range(2):
        write_training_figure(
            draw_training_figure(curves, make_views(4)), curves_as_json(curves), path
        )
    assert sorted(file.name for file in path.parent.iterdir()) == ["run.json", "run.png"]
    pixels = np.asarray(Image.open(path).convert("L"))
    middle = [side // 2 for side in pixels.shape]
    for half in np.split(pixels, middle[:1], axis=0):
        for quadrant in np.split(half, middle[1:], axis=1):
            assert quadrant.std() > 10
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_other_formats(tmp_path, suffix, start):
    curves = make_curves()
    path = tmp_path / f"run{suffix}"
    write_training_figure(draw_training_figure(curves, make_views()), curves_as_json(curves), path)
    assert path.read_bytes().startswith(start)


def test_the_json_file_has_every_value(tmp_path):
    curves = make_curves(5)
    curves.loss[2] = np.nan
    path = tmp_path / "run.png"
    write_training_figure(draw_training_figure(curves), curves_as_json(curves), path)
    data = json.loads((tmp_path / "run.json").read_text())
    assert data["entropy_bound"] == pytest.approx(math.log(64))
    assert data["iterations_per_epoch"] == 10
    assert data["train"]["iteration"] == [1, 2, 3, 4, 5]
    assert data["train"]["loss"][2] is None
    assert data["train"]["kl"] == pytest.approx(curves.kl, rel=1e-5)
    assert data["knn"] == {
        "iteration": [0, 50, 100],
        "top1": [31.25, 60.0, 78.4],
        "top5": [70.0, 90.0, None],
    }


def test_the_global_style_is_not_modified(tmp_path):
    matplotlib.get_backend()  # Chosen when first asked for.
    before = matplotlib.rcParams.copy()
    curves = make_curves()
    write_training_figure(
        draw_training_figure(curves), curves_as_json(curves), tmp_path / "run.png"
    )
    assert matplotlib.rcParams == before

"""Labels propagate as in the reference, in any blocks, through videos of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_evaluations import moving_squares
from torch import nn

from mmdino.evaluation.label_propagation import (
    Propagation,
    frame_input,
    frame_shape,
    labels_to_classes,
    neighbours_mask,
    one_hot,
    propagate,
    segment_video,
)

CASES = ("default", "no_neighbourhood", "top1")


class MeanColor(nn.Module):
    """The mean colour of each square of 4 pixels, as a backbone."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return (nn.functional.avg_pool2d(self.scale * images, 4),)


@pytest.mark.parametrize("at_once", [2**25, 1000, 1])
@pytest.mark.parametrize("case", CASES)
def test_propagated_labels_are_the_references(golden, case, at_once):
    arrays = golden("video", f"{case}/")
    options = Propagation(neighbourhood=int(arrays["neighbourhood"]), topk=int(arrays["topk"]))
    sources = arrays["source_features"], arrays["source_labels"]
    found = propagate(*sources, arrays["target_features"], options, at_once)
    torch.testing.assert_close(found, arrays["target_labels"], rtol=0, atol=1e-5)


def test_at_a_low_temperature_the_most_similar_patch_counts_alone(golden):
    arrays = golden("video", "default/")
    sources = arrays["source_features"], arrays["source_labels"]
    nearest, cold = (
        propagate(*sources, arrays["target_features"], Propagation(topk=topk, temperature=heat))
        for topk, heat in ((1, 0.1), (5, 1e-5))
    )
    torch.testing.assert_close(cold, nearest)


@pytest.mark.parametrize("case", CASES)
def test_classes_are_the_references(golden, case):
    arrays = golden("video", f"{case}/")
    found = labels_to_classes(arrays["target_labels"], arrays["classes"].shape)
    assert torch.equal(found, arrays["classes"].long())


@pytest.mark.parametrize("case", ["default", "top1"])
def test_the_neighbourhood_is_the_references(golden, case):
    arrays = golden("video", f"{case}/")
    shape = tuple(arrays["height_width"].tolist())
    places = torch.arange(shape[0] * shape[1])
    found = neighbours_mask(places, shape, int(arrays["neighbourhood"]))
    assert torch.equal(found, arrays["mask"])


def test_frames_have_the_references_sizes(golden):
    for height, width, *expected in golden("video")["sizes"].tolist():
        found = frame_shape(height, width, 480, 16)
        assert [*found, *(side // 16 for side in found)] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((480, 480, 480, 16), (480, 448)),  # as the reference: the width counts as the longer side
        ((48, 70, 48, 8), (48, 64)),
        ((48, 60, 48, 8), (48, 56)),  # no 64 fits in
        ((480, 854, 476, 14), (476, 840)),  # 64 is no multiple of the patch
    ],
)
def test_other_sizes_and_patches_fit_the_network(given, expected):
    assert frame_shape(*given) == expected


@pytest.mark.parametrize("size", [8, 479])
def test_a_size_that_the_patch_does_not_divide_is_refused(size):
    with pytest.raises(ValueError, match="a multiple of 16, such as 480"):
        frame_shape(480, 854, size, 16)


def test_a_frame_is_normalised_as_the_reference_does():
    frame = np.full((30, 40, 3), (255, 0, 51), np.uint8)
    found = frame_input(frame, (16, 24))
    assert found.shape == (1, 3, 16, 24)
    expected = [(1 - 0.485) / 0.228, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(found[0, :, 5, 5], torch.tensor(expected))


def test_labels_shrink_to_one_map_a_class():
    labels = np.zeros((8, 8), np.uint8)
    labels[:4, 4:] = 2
    maps = one_hot(labels, (2, 2), 3)
    assert maps[0].tolist() == [[1, 0], [1, 1]]
    assert maps[1].sum() == 0
    assert maps[2].tolist() == [[0, 1], [0, 0]]


def test_a_class_that_is_everywhere_equal_wins_or_is_nowhere():
    labels = torch.stack([torch.rand(2, 2) * 0.5, torch.zeros(2, 2), torch.full((2, 2), 0.2)])
    assert labels_to_classes(labels, (4, 4)).unique().tolist() == [2]


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_squares_of_a_colour_are_followed(frames):
    images, labels = zip(*moving_squares(frames, width=120), strict=True)
    options = Propagation(size=48, last_frames=2, neighbourhood=6)
    found = list(segment_video(MeanColor().eval(), images, labels[0], options))
    assert len(found) == frames
    np.testing.assert_array_equal(found[0], labels[0])
    for number, (of_frame, truth) in enumerate(zip(found, labels, strict=True)):
        assert of_frame.shape == truth.shape
        assert (of_frame == truth).mean() > 0.93, number
        for label in (1, 2):
            both = ((of_frame == label) & (truth == label)).sum()
            either = ((of_frame == label) | (truth == label)).sum()
            assert both > 0.55 * either, (number, label)


def test_only_the_last_frames_are_kept(monkeypatch):
    numbers = []

    def count(features, labels, *_):
        numbers.append(len(features))
        return labels[0]

    monkeypatch.setattr("mmdino.evaluation.label_propagation.propagate", count)
    images, labels = zip(*moving_squares(8), strict=True)
    list(segment_video(MeanColor(), images, labels[0], Propagation(size=48, last_frames=3)))
    assert numbers == [1, 2, 3, 4, 4, 4, 4]


def test_a_frame_of_another_size_is_named():
    labels = np.ones((48, 70), np.uint8)
    frames = [np.zeros((48, 70, 3), np.uint8), np.zeros((40, 70, 3), np.uint8)]
    segmented = segment_video(MeanColor(), frames, labels, Propagation(size=48))
    with pytest.raises(ValueError, match="frame 1 has 70 x 40 pixels"):
        list(segmented)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"last_frames": -1}, {"neighbourhood": -1}, {"topk": 0}, {"temperature": 0}],
)
def test_options_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Propagation(**wrong)

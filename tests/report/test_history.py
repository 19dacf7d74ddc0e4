"""Maps over a run are few, spread over it, and survive being written."""

from __future__ import annotations

import numpy as np
import pytest

from mmdino.report.history import HISTORY, MAX_TIMES, read_history, with_maps, write_history
from mmdino.report.pictures import Images, Maps


def maps(iteration, attention=True):
    picture = np.full((2, 3, 3), iteration % 256, np.uint8)
    return Maps(iteration, [picture] * 2 if attention else [], [picture + 1] * 2)


def test_times_are_spread_over_the_run():
    kept = []
    for iteration in range(0, 1001, 10):
        kept = with_maps(kept, maps(iteration))
    iterations = [each.iteration for each in kept]
    assert len(iterations) == MAX_TIMES
    assert (iterations[0], iterations[-1]) == (0, 1000)
    assert np.diff(iterations).max() <= 3 * 1000 / MAX_TIMES


def test_a_resumed_run_replaces_what_it_does_again():
    kept = with_maps([maps(0), maps(10), maps(20)], maps(10))
    assert [each.iteration for each in kept] == [0, 10]


@pytest.mark.parametrize("levels", [(), [np.full((4, 6, 5), 0.5, np.float32)] * 2], ids=len)
@pytest.mark.parametrize("attention", [True, False])
def test_what_is_written_is_read(tmp_path, attention, levels):
    pixels = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2)]
    images = Images(pixels, ["ä.jpg", "b.jpg"], (), "", levels)
    written = [maps(0, attention), maps(7, attention)]
    write_history(tmp_path, images, written)
    read_images, read = read_history(tmp_path)
    assert read_images.names == images.names
    np.testing.assert_array_equal(read_images.pixels, pixels)
    np.testing.assert_array_equal(read_images.inputs, levels or pixels)
    assert [each.iteration for each in read] == [0, 7]
    for one, other in zip(read, written, strict=True):
        np.testing.assert_array_equal(one.attention, other.attention)
        np.testing.assert_array_equal(one.components, other.components)


def test_a_damaged_file_is_named(tmp_path):
    assert read_history(tmp_path) is None
    (tmp_path / HISTORY).write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=rf"{HISTORY} is damaged .*Remove it"):
        read_history(tmp_path)

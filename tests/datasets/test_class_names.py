"""What is said of two data sets with other classes."""

from __future__ import annotations

import pytest

from mmdino.datasets.class_names import describe_other_classes


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (["a", "b"], ("a", "b"), ""),
        (None, ["a"], ""),
        (["a"], None, ""),
        (["a", "b"], ["a"], "2 and 1"),
        (["a", "b"], ["b", "a"], "label 0 is 'a' and 'b'"),
        (["a", "b"], ["a", "c"], "label 1 is 'b' and 'c'"),
    ],
)
def test_the_first_difference_is_named(expected, found, said):
    assert describe_other_classes(expected, found) == said

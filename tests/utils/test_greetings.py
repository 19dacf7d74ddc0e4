"""Two messages of other packages are silenced, and no other."""

from __future__ import annotations

import warnings

import pytest

from mmdino.utils.greetings import PRINTED, WARNED, silence_greetings, without_printed


def test_one_printed_line_is_dropped(capsys):
    with without_printed():
        print("before")
        print(PRINTED)
        print()
        print(f"{PRINTED}, and why")
    print(PRINTED)
    assert capsys.readouterr().out == f"before\n\n{PRINTED}, and why\n{PRINTED}\n"


def test_one_warning_is_ignored():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        silence_greetings()
        warnings.warn(f"{WARNED} from ``mmcv.ops``", stacklevel=1)
        with pytest.warns(UserWarning, match="another"):
            warnings.warn("another", stacklevel=1)
    assert not seen

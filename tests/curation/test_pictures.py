"""Pictures of a curation."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmdino.curation.pictures import draw_curves


def test_a_title_with_dollar_signs_is_drawn_as_it_is(tmp_path):
    path = tmp_path / "curves.png"
    draw_curves(path, "copies, a$x^{$b.pth", [0.9, 0.99], {"precision": [0.5, 1.0]}, 0.95)
    assert np.asarray(Image.open(path).convert("L")).std() > 5

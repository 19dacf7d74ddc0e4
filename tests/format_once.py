"""mmengine formats the config of a run about six times; here each text is formatted once."""

from __future__ import annotations

import functools

from yapf.yapflib import yapf_api

_format_code = yapf_api.FormatCode


def install():
    """Has yapf remember the last results, which mmengine asks it for again."""
    yapf_api.FormatCode = _remembering


def _remembering(text, style_config):
    return _formatted(text, tuple(style_config.items()))


@functools.lru_cache(maxsize=16)
def _formatted(text, style):
    return _format_code(text, style_config=dict(style))

"""What makes runs of shipped configs shorter, whatever they train."""

from __future__ import annotations

import pytest
import tiny_configs
from mmengine.config import Config

from mmdino.config_check import config_files


@pytest.fixture(autouse=True)
def _read_once_and_not_formatted(monkeypatch):
    """Keeps mmengine from formatting the config six times a run, most of its time.

    Tools have copies of what a test has read.
    """
    monkeypatch.setattr(Config, "pretty_text", property(Config.text.fget))
    monkeypatch.setattr(config_files, "read_config", tiny_configs.read_config)

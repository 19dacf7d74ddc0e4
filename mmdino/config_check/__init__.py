"""The check of a config before anything is built from it."""

from mmdino.config_check.check import check_config

__all__ = ["check_config"]

"""Data preprocessors."""

from mmdino.models.preprocessors.multi_view_preprocessor import MultiViewPreprocessor

__all__ = ["MultiViewPreprocessor"]

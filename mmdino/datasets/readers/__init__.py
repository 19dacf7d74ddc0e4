"""Functions that decode images of formats that OpenCV does not read, for ``LoadImage``."""

from mmdino.datasets.readers.dicom import read_dicom
from mmdino.datasets.readers.levels import ReaderMismatchError
from mmdino.datasets.readers.tiff import read_tiff

__all__ = ["ReaderMismatchError", "read_dicom", "read_tiff"]

"""The steps of curation: each reads features and writes a list of images and a report."""

from mmdino.curation.steps.balance import balance
from mmdino.curation.steps.calibrate import calibrate
from mmdino.curation.steps.deduplicate import Threshold, calibrated_threshold, deduplicate
from mmdino.curation.steps.retrieve import retrieve

__all__ = [
    "Threshold",
    "balance",
    "calibrate",
    "calibrated_threshold",
    "deduplicate",
    "retrieve",
]

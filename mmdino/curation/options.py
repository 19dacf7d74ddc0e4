"""Words and defaults of the steps, here since the command line shows them before torch loads."""

PIXELS = "pixels"
"""What is given for a checkpoint to take thumbnails of raw pixels as features."""

ORIGINALS = 1000
PRECISION = 0.99
"""Images that a calibration plants copies of, and the fraction of what is dropped that must be
copies."""

KEEP = ("first", "largest")
"""Which image of a group of near-duplicates may be kept."""

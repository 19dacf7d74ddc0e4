"""Lines that say how far a long computation is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mmdino.evaluation.bank_extraction import SECONDS_PER_LINE


@dataclass
class Progress:
    """Prints a line every ten seconds.

    Args:
        what: What is done, such as "search".
        total: Number of images.
    """

    what: str
    total: int
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def at(self, done: int) -> None:
        """Reports, if it is time, that ``done`` images are done."""
        now = time.monotonic()
        if done and now - self.reported > SECONDS_PER_LINE:
            self.reported = now
            left = (now - self.started) * (self.total - done) / done
            print(f"  {self.what}: {done}/{self.total} images, {left:.0f} s left", flush=True)

"""Lines that say how far a long computation is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

SECONDS_PER_LINE = 10


@dataclass
class Progress:
    """Prints a line every ten seconds, and one at the end where there was any.

    Args:
        what: What is done, such as "search".
        total: Number of images.
        always: Whether to print the last line in any case.
    """

    what: str
    total: int
    always: bool = False
    started: float = field(default_factory=time.monotonic)
    reported: float | None = None

    def at(self, done: int) -> None:
        """Reports, if it is time, that ``done`` images are done."""
        now = time.monotonic()
        is_last = done == self.total and (self.always or self.reported is not None)
        if not done or (now - (self.reported or self.started) <= SECONDS_PER_LINE and not is_last):
            return
        self.reported = now
        seconds = max(now - self.started, 1e-9)
        left = duration(seconds * (self.total - done) / done)
        speed = rate(done / seconds)
        print(f"  {self.what}: {done}/{self.total} images, {speed}, {left} left", flush=True)


def rate(images_per_s: float) -> str:
    """Returns a speed as text."""
    return f"{images_per_s:.1f} images/s"


def place(unit: str, number: int, total: int) -> str:
    """Returns how far a run is as text, such as "epoch 3/100" or "iteration 1,200/15,600"."""
    return f"{unit} {number:,}/{total:,}"


def duration(seconds: float) -> str:
    """Returns a duration as text, such as "50 s", "12 min", "3 h 20 min" or "4.5 days"."""
    if seconds < 100:
        return f"{max(1, round(seconds)) if seconds else 0} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

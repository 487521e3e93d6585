"""Tells a waiting person how far a long job is."""

import sys
import time
from typing import Self

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """A bar on a terminal; in a pipe or a log file, a plain line every few seconds.

    Use it as a context manager. Speed is taken from the first unit's end on: a first training step
    is compiled, a first file opens the cache.

    Args:
        title: what is being done.
        total: how many units make the whole.
        unit: name of one unit, in the singular.
        done: units done before, by an earlier run.
        shown: False to be silent.
    """

    def __init__(
        self, title: str, total: int, unit: str, done: int = 0, shown: bool = True
    ) -> None:
        self._title, self._total, self._unit = title, total, unit
        self.done = done
        self._shown = shown
        self._last_line = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._bar = None
        if shown and sys.stderr.isatty():
            self._bar = tqdm(
                desc=title, total=total, initial=done, unit=unit, dynamic_ncols=True, leave=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, units: int = 1, note: str = "") -> None:
        """Counts units as done; `note` is shown beside them and stays until there is another."""
        self.done += units
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(units)
        elif self._shown:
            now = time.monotonic()
            self._first = self._first or (self.done, now)
            if now - self._last_line >= _SECONDS_BETWEEN_LINES or self.done == self._total:
                self._last_line = now
                print(self._line(now, note), flush=True)

    def _line(self, now: float, note: str) -> str:
        parts = [f"{self._title}: {self._unit} {self.done}/{self._total}"]
        first_done, first_time = self._first
        if self.done > first_done:
            each = (now - first_time) / (self.done - first_done)
            parts += [
                f"{each:.2f} s each" if each > 1 else f"{1 / max(each, 1e-9):.2f} a second",
                f"{duration((self._total - self.done) * each)} left",
            ]
        return ", ".join(parts) + (f" | {note}" if note else "")


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"

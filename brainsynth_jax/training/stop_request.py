"""Lets a run end between two steps when it is told to."""

import signal
import time
from typing import Self

from brainsynth_jax.training import processes

# So often several processes ask each other whether one of them was told to stop.
_SECONDS_BETWEEN_QUESTIONS = 1.0


class StopRequest:
    """While entered, notes SIGTERM and the first Ctrl-C instead of dying from them.

    A second Ctrl-C ends the program at once. Where several processes train together, all of them
    stop after the same step when one was told to.

    Attributes:
        received: SIGINT or SIGTERM once it has come to this process, None before.
        heeded: the signal for which all processes stop, None before they do.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.heeded: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}
        self._asked: tuple[int, float] | None = None  # the last question's step and time
        self._next_question = 0

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def is_due(self, step: int) -> bool:
        """Whether to stop after `step` steps; all processes call it with the same steps."""
        if processes.count() == 1:
            self.heeded = self.received
        elif step >= self._next_question:
            self._ask(step)
        return self.heeded is not None

    def _ask(self, step: int) -> None:
        now = time.monotonic()
        seconds_per_step = 0.0
        if self._asked is not None:
            seconds_per_step = (now - self._asked[1]) / (step - self._asked[0])
        received, seconds_per_step = processes.highest([self.received or 0, seconds_per_step])
        self._asked = step, now
        self._next_question = step + 1
        if seconds_per_step:
            self._next_question += int(_SECONDS_BETWEEN_QUESTIONS / seconds_per_step)
        if received:
            self.heeded = signal.Signals(int(received))

    def _note(self, number: int, frame: object) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        print(f"\n{self.received.name}: stopping after this step; Ctrl-C again ends at once.")

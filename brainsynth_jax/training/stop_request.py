"""Lets a run end between two steps when it is told to."""

import signal
from typing import Self


class StopRequest:
    """While entered, notes SIGTERM and the first Ctrl-C instead of dying from them.

    A second Ctrl-C ends the program at once.

    Attributes:
        received: SIGINT or SIGTERM once it has come, None before.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        print(f"\n{self.received.name}: stopping after this step; Ctrl-C again ends at once.")

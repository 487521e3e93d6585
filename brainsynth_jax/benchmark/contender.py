"""A process that takes steps when it is told to, so that two programs can take turns.

Each has memory and threads of its own; none works while another is timed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

from brainsynth_jax import process_memory

# Not multiprocessing's own, which would load the script that is running and all that it imports.
_PROGRAM = (
    "import sys; from brainsynth_jax.benchmark import contender; contender.serve(sys.argv[1])"
)
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class Ready(NamedTuple):
    """What a process has built.

    Attributes:
        run: takes one step and waits for its end.
        facts: whatever else is worth telling, in plain values.
        peak_memory: MiB of the device's memory so far, None for the process's own.
    """

    run: Callable[[], Any]
    facts: Mapping[str, Any]
    peak_memory: Callable[[], float | None] = lambda: None


class Failed(Exception):
    """A process could not build or take its step; the message is its error's first line."""


class Contender:
    """Starts a process, builds in it and waits until it is ready; a context that ends it.

    Attributes:
        facts: what the process told when it was ready.
        import_seconds: from the start of the process until it began to build.

    Raises:
        Failed: it was not built.
    """

    def __init__(self, build: Callable[..., Ready], *arguments: Any) -> None:
        self._pipe, end = Pipe()
        start = time.perf_counter()
        # -P, so that it imports what this process does, and not from the current folder.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(end.fileno())],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
            pass_fds=[end.fileno()],
        )
        end.close()
        try:
            self._send((build, arguments))
            self._receive()
            self.import_seconds = time.perf_counter() - start
            self.facts = self._receive()
            self._halt()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self) -> float:
        """Seconds of one step."""
        return self._ask("step")

    def forget_peak(self) -> None:
        """What was held until now no longer counts for `peak_memory_mib`."""
        self._ask("forget")

    def peak_memory_mib(self) -> float:
        """The most that was held since `forget_peak`; on a GPU, since the start."""
        return self._ask("peak")

    def close(self) -> None:
        """Ends the process, halted or not."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def _ask(self, command: str) -> Any:
        self._process.send_signal(signal.SIGCONT)
        self._send(command)
        answer = self._receive()
        self._halt()
        return answer

    def _halt(self) -> None:
        """Threads that wait for work may spin, which would slow down whoever comes next."""
        self._process.send_signal(signal.SIGSTOP)

    def _send(self, message: Any) -> None:
        try:
            self._pipe.send(message)
        except ConnectionError:
            raise self._ended() from None

    def _receive(self) -> Any:
        try:
            failed, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise self._ended() from None
        if failed:
            raise Failed(answer)
        return answer

    def _ended(self) -> Failed:
        return Failed(_describe_end(self._process.wait()))


def _describe_end(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as it is where memory runs out"
    return f"its process ended with status {status}"


def serve(number: str) -> None:
    """What a contender's process does: builds, and takes a step whenever it is told to.

    Args:
        number: of the file that is this process's end of the pipe.
    """
    # A Ctrl-C reaches every process of the terminal; the one that started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    os.set_inheritable(int(number), False)
    pipe = Connection(int(number))
    with contextlib.suppress(ConnectionError):  # the other end has seen enough
        try:
            build, arguments = pipe.recv()
            pipe.send((False, None))
            ready = build(*arguments)
            del arguments
            pipe.send((False, dict(ready.facts)))
            while True:
                pipe.send((False, _answer(ready, pipe.recv())))
        except Exception as error:
            pipe.send((True, traceback.format_exception_only(error)[0].splitlines()[0]))


def _end_with_parent() -> None:
    """Lets Linux kill this process with the one that started it: a halted one sees no end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _answer(ready: Ready, command: str) -> float | None:
    if command == "forget":
        return process_memory.forget_peak()
    if command == "peak":
        of_device = ready.peak_memory()
        return process_memory.peak_mib() if of_device is None else of_device
    start = time.perf_counter()
    ready.run()
    return time.perf_counter() - start

"""A process that takes steps when it is told to, so that two programs can take turns.

Each has memory and threads of its own; none works while another is timed.
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

from brainsynth_jax.benchmark import machine


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
    """A process could not build or take its step; the message is its last line."""


class Contender:
    """Starts a process, builds in it and waits until it is ready; a context that ends it.

    Attributes:
        facts: what the process told when it was ready.
        import_seconds: from the start of the process until it began to build.

    Raises:
        Failed: it was not built.
    """

    def __init__(self, build: Callable[..., Ready], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, build, arguments), daemon=True)
        start = time.perf_counter()
        self._process.start()
        end.close()
        try:
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

    def peak_memory_mib(self) -> float | None:
        """The most that was held since `forget_peak`; None where the machine does not tell."""
        return self._ask("peak")

    def close(self) -> None:
        """Ends the process, halted or not."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, command: str) -> Any:
        os.kill(self._process.pid, signal.SIGCONT)
        self._pipe.send(command)
        answer = self._receive()
        self._halt()
        return answer

    def _halt(self) -> None:
        """Threads that wait for work may spin, which would slow down whoever comes next."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def _receive(self) -> Any:
        try:
            failed, answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise Failed(_describe_end(self._process.exitcode)) from None
        if failed:
            raise Failed(answer)
        return answer


def _describe_end(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as it is where memory runs out"
    return f"its process ended with status {status}"


def _serve(pipe: Connection, build: Callable[..., Ready], arguments: tuple) -> None:
    # A Ctrl-C reaches every process of the terminal; the one that started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pipe.send((False, None))
        ready = build(*arguments)
        pipe.send((False, dict(ready.facts)))
        while True:
            command = pipe.recv()
            if command == "step":
                start = time.perf_counter()
                ready.run()
                answer = time.perf_counter() - start
            elif command == "forget":
                answer = machine.forget_peak_memory()
            else:
                answer = ready.peak_memory() or machine.peak_memory_mib()
            pipe.send((False, answer))
    except (EOFError, BrokenPipeError):  # the other end has seen enough
        pass
    except Exception as error:
        pipe.send((True, "".join(traceback.format_exception_only(error)).strip()))

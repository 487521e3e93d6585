"""The processes that train one run together: one a machine, or several on one. All of them execute
the same program; the first, number 0, alone writes what is not a checkpoint.

The home of `jax.distributed`.
"""

import faulthandler
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from brainsynth_jax.errors import UserError

# A process that says nothing for so long is taken for dead, and JAX ends the others.
HEARTBEAT_SECONDS = 20
# Nodes of a job may start minutes apart.
JOIN_SECONDS = 300

# What gloo, NCCL and JAX's coordination service say of a connection that has ended.
_WORDS_OF_LOSS = ("Gloo", "NCCL", "coordination", "UNAVAILABLE", "DEADLINE_EXCEEDED", "Barrier")

_LONGEST_TEXT = 4096  # bytes
_RETRY_SECONDS = 0.5


class Place(NamedTuple):
    """Which of a run's processes one is.

    Attributes:
        address: HOST:PORT at which process 0 answers the others.
        count: of processes.
        index: 0 to count - 1.
    """

    address: str
    count: int
    index: int


def join(place: Place, seconds: int = JOIN_SECONDS) -> list[str]:
    """Meets the other processes; to be called before anything touches a device.

    Should one of them die afterwards, JAX ends the others within `HEARTBEAT_SECONDS` with a message
    that gives its number; 0 is what it calls the leader.

    Returns:
        Each process's host name.

    Raises:
        UserError: process 0 does not answer, or cannot listen at the address.
    """
    host, port = _split(place.address)
    if place.index:
        _await_leader(place, host, port, seconds)
    else:
        _check_free(place.address, port)
    faulthandler.disable()  # JAX's message of a lost process shall not drown in threads' stacks
    own = host in ("localhost", "127.0.0.1")
    jax.distributed.initialize(
        place.address,
        place.count,
        place.index,
        cluster_detection_method="deactivate",  # it would take one device of several
        coordinator_bind_address=place.address if own else None,
        initialization_timeout=seconds,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
    names = _gather(_as_bytes(socket.gethostname()))
    return [_as_text(name) for name in names]


def leave() -> None:
    """Parts from the others, who may then end at any time; devices of this process stay usable."""
    if count() > 1:
        jax.distributed.shutdown()


def count() -> int:
    """How many processes there are."""
    return jax.process_count()


def index() -> int:
    """The number of this one."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return index() == 0


@contextmanager
def noticing_loss() -> Iterator[None]:
    """While entered, an error that comes of another process's death is said to be that.

    JAX ends this process soon after, with a message that gives the number of the dead one.
    """
    try:
        yield
    except Exception as error:
        if count() == 1 or not _tells_of_loss(error):
            raise
        print(
            f"\nerror: process {index()} of {count()} has lost another one. JAX says which within "
            f"{HEARTBEAT_SECONDS} seconds (its 'task' numbers are ours). Start all of them again "
            "with the same --workdir: the run goes on from its newest checkpoint.",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(2 * HEARTBEAT_SECONDS)
        raise


def _tells_of_loss(error: BaseException | None) -> bool:
    while error is not None:
        if any(word in str(error) for word in _WORDS_OF_LOSS):
            return True
        error = error.__cause__ or error.__context__
    return False


def meet() -> None:
    """Returns when every process has called this."""
    if count() > 1:
        multihost_utils.sync_global_devices("meet")


def highest(values: Sequence[float]) -> list[float]:
    """The highest of what the processes call this with, value by value, in float32."""
    if count() == 1:
        return list(values)
    return _gather(np.array(values, np.float32)).max(axis=0).tolist()


def tell_text(text: str) -> str:
    """What process 0 calls this with, at most 4 KiB."""
    if count() == 1:
        return text
    return _as_text(multihost_utils.broadcast_one_to_all(_as_bytes(text)))


def tell_numbers(values: Sequence[float]) -> list[float]:
    """What process 0 calls this with, exactly; as many of each process."""
    if count() == 1:
        return list(values)
    words = np.array(values, np.float64).view(np.uint32)  # JAX has 32 bits
    return np.asarray(multihost_utils.broadcast_one_to_all(words)).view(np.float64).tolist()


def differing(text: str) -> list[int]:
    """Numbers of the processes that call this with another text, at most 4 KiB, than number 0."""
    if count() == 1:
        return []
    texts = [_as_text(each) for each in _gather(_as_bytes(text))]
    return [number for number, each in enumerate(texts) if each != texts[0]]


def _await_leader(place: Place, host: str, port: int, seconds: int) -> None:
    """Returns when process 0 listens: JAX would abort where it does not, with a stack trace."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"Process {place.index} of {place.count}: process 0 has not answered at "
                    f"{place.address} for {seconds} s ({error.strerror or error}). Start it, and "
                    "see that this machine may reach that port."
                ) from None
        time.sleep(_RETRY_SECONDS)


def _check_free(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UserError(
                f"--distributed={address}: port {port} cannot be listened at ({error.strerror}). "
                "Give another port to all processes."
            ) from None


def _gather(value: np.ndarray) -> np.ndarray:
    return np.asarray(multihost_utils.process_allgather(value))


def _as_bytes(text: str) -> np.ndarray:
    encoded = text.encode()[:_LONGEST_TEXT]
    return np.frombuffer(encoded.ljust(_LONGEST_TEXT, b"\0"), np.uint8)


def _as_text(array: np.ndarray) -> str:
    return np.asarray(array).tobytes().rstrip(b"\0").decode(errors="replace")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f"--distributed={address}: auto, off, or HOST:PORT of process 0 is needed, such as "
            "node01:8476."
        )
    return host.strip("[]"), int(port)

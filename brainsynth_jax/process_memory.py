"""How much memory this process has held, and giving back what it no longer holds."""

import contextlib
import ctypes
import platform
import resource
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mib() -> float:
    """The most that was resident, MiB: since `forget_peak` on Linux, elsewhere since the start.

    Libraries and data count. What a program that started this one held does not, which
    `ru_maxrss` does on Linux.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def forget_peak() -> None:
    """Lets `peak_mib` count from now on, where the system can; what was freed does not count."""
    release_freed()
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def release_freed() -> None:
    """Gives freed memory back to the system, where that is glibc's; elsewhere does nothing.

    Compiling a step takes and frees up to a gigabyte, which the process would keep while it trains.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)

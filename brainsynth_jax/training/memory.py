"""How much memory has been in use, and giving back what is not."""

import ctypes
import platform
import resource
import sys

import jax


def peak_memory_mib() -> float:
    """The most memory in use so far, MiB: of the fullest device where devices tell, as GPUs do.

    Else of the process, by `ru_maxrss`: data, libraries and what came before training included.
    """
    of_devices = peak_device_memory_mib()
    if of_devices is not None:
        return of_devices
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def release_freed_memory() -> None:
    """Gives freed memory back to the system, where that is glibc's; elsewhere does nothing.

    Compiling a step takes and frees up to a gigabyte, which the process would keep while it trains.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def peak_device_memory_mib() -> float | None:
    """The most that the fullest device has held, MiB; None where devices do not tell, as CPUs."""
    peaks = [
        statistics["peak_bytes_in_use"]
        for device in jax.local_devices()
        if "peak_bytes_in_use" in (statistics := device.memory_stats() or {})
    ]
    return max(peaks) / 2**20 if peaks else None

import ctypes
import platform
import resource
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from brainsynth_jax.training.memory import (
    peak_device_memory_mib,
    peak_memory_mib,
    release_freed_memory,
)


def test_peak_memory_is_the_fullest_devices_where_devices_tell(monkeypatch):
    peaks = [{"peak_bytes_in_use": 3 * 2**20}, {"peak_bytes_in_use": 5 * 2**20}]
    devices = [SimpleNamespace(memory_stats=lambda peak=peak: peak) for peak in peaks]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert peak_memory_mib() == peak_device_memory_mib() == 5


def test_peak_memory_is_the_processs_where_devices_tell_nothing():
    assert peak_device_memory_mib() is None
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux")
    (kib,) = (int(row.split()[1]) for row in status.read_text().splitlines() if "VmHWM" in row)
    assert peak_memory_mib() == pytest.approx(kib / 2**10, rel=0.05)


def test_freed_memory_goes_back_to_the_system():
    """A chunk freed below one still in use stays with the process until then."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("needs glibc")
    malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
    malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    chunks = [malloc(100_000) for _ in range(2_000)]
    for chunk in chunks:
        ctypes.memset(chunk, 1, 100_000)
    for chunk in chunks[:-1]:
        free(chunk)
    held = resident_mib()
    release_freed_memory()
    assert resident_mib() < held - 150
    free(chunks[-1])


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20

"""Checked against a process of a known size."""

import ctypes
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from brainsynth_jax import process_memory

IN_A_PROCESS = """
from brainsynth_jax.process_memory import forget_peak, peak_mib
start = peak_mib()
held = bytearray(b"x") * (300 << 20)
high = peak_mib()
del held
freed = peak_mib()
forget_peak()
print(start, high, freed, peak_mib())
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_the_peak_is_of_this_process_since_it_was_forgotten():
    held = bytearray(b"x") * (200 << 20)  # by the one that starts it
    done = subprocess.run([sys.executable, "-c", IN_A_PROCESS], capture_output=True, check=True)
    start, high, freed, forgotten = map(float, done.stdout.split())
    assert start < 100  # what it was started by does not count
    assert len(held)
    assert high == pytest.approx(start + 300, abs=10)
    assert freed == pytest.approx(high, abs=5)
    assert forgotten == pytest.approx(start, abs=10)


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
    process_memory.release_freed()
    assert resident_mib() < held - 150
    free(chunks[-1])


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20

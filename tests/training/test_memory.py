from types import SimpleNamespace

import jax
import pytest

from brainsynth_jax import process_memory
from brainsynth_jax.training.memory import peak_device_memory_mib, peak_memory_mib


def test_peak_memory_is_the_fullest_devices_where_devices_tell(monkeypatch):
    peaks = [{"peak_bytes_in_use": 3 * 2**20}, {"peak_bytes_in_use": 5 * 2**20}]
    devices = [SimpleNamespace(memory_stats=lambda peak=peak: peak) for peak in peaks]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert peak_memory_mib() == peak_device_memory_mib() == 5


def test_peak_memory_is_the_processs_where_devices_tell_nothing():
    assert peak_device_memory_mib() is None
    process_memory.forget_peak()
    before = peak_memory_mib()
    held = bytearray(b"x") * (200 << 20)
    assert peak_memory_mib() == pytest.approx(before + len(held) / 2**20, abs=30)

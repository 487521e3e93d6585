"""The most memory that training has held, and letting go of what it no longer needs."""

import jax

from brainsynth_jax import process_memory


def peak_memory_mib() -> float:
    """The most memory in use so far, MiB: of the fullest device where devices tell, as GPUs do.

    Else of the process, as `process_memory.peak_mib` tells it.
    """
    of_devices = peak_device_memory_mib()
    return process_memory.peak_mib() if of_devices is None else of_devices


def peak_device_memory_mib() -> float | None:
    """The most that the fullest device has held, MiB; None where devices do not tell, as CPUs."""
    peaks = [
        statistics["peak_bytes_in_use"]
        for device in jax.local_devices()
        if "peak_bytes_in_use" in (statistics := device.memory_stats() or {})
    ]
    return max(peaks) / 2**20 if peaks else None


def forget_traces() -> None:
    """Drops what JAX keeps of functions that it has traced, and gives freed memory back.

    Compiled steps that someone holds stay. To be called when a run's step and first state are
    made: neither is traced again, and their traces would take tens of megabytes while it trains.
    """
    jax.clear_caches()
    process_memory.release_freed()

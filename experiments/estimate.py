"""What a run will cost, found by compiling its step and taking it a few times."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import jax
import numpy as np

from brainsynth_jax import process_memory
from brainsynth_jax.progress import duration
from brainsynth_jax.training.memory import forget_traces, peak_memory_mib
from brainsynth_jax.training.parallel import (
    describe_state,
    local_devices,
    place_state,
    trace_step,
)

_TIMED_STEPS = 3


def estimate_cost(
    make_step: Callable[[str | None], Callable],
    create_state: Callable[[], Any],
    batch: Mapping[str, np.ndarray],
    key: jax.Array,
    total_steps: int,
    devices: Sequence[jax.Device],
) -> str:
    """One paragraph: seconds a step, time of all steps, memory of a device, time to compile.

    The step is taken on a first device with its share of the batch; what devices lose to talking
    to each other, evaluation and reading are not in it. A run on one device finds this step
    compiled in the cache.

    Args:
        make_step: as `parallel.trace_step` takes it.
        create_state: makes a first state.
        batch: of this process's devices.
        key: the run's random key.
        total_steps: of the whole run.
        devices: that it would train on.
    """
    own = local_devices(devices)
    share = {name: values[: len(values) // len(own)] for name, values in batch.items()}
    process_memory.forget_peak()  # of preparing the slices
    start = time.perf_counter()
    described = describe_state(create_state, own[:1])
    step = trace_step(make_step, own[:1], described, share, key).compile()
    compile_seconds = time.perf_counter() - start
    process_memory.release_freed()
    state = place_state(create_state(), own[:1])  # in the order of a run
    forget_traces()
    seconds = []
    for _ in range(1 + _TIMED_STEPS):  # the first one warms up
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, share, key))
        seconds.append(time.perf_counter() - start)
    step_seconds = median(seconds[1:])
    each = f" for each of {len(devices)} devices" if len(devices) > 1 else ""
    return (
        f"Estimate: {step_seconds:.2g} s a step, {duration(total_steps * step_seconds)} for "
        f"{total_steps} steps after {compile_seconds:.0f} s to compile; {peak_memory_mib():.0f} "
        f"MiB of memory{each}. Pictures and evaluation come on top. Nothing was trained."
    )

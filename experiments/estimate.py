"""What a run will cost, found by compiling its step and taking it twice."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainsynth_jax.progress import duration

_TIMED_STEPS = 2


def estimate_cost(
    train_step: Callable,
    state: Any,
    batch: Mapping[str, np.ndarray],
    key: jax.Array,
    total_steps: int,
    device_count: int,
) -> str:
    """One paragraph: seconds a step, time of all steps, memory of a device, time to compile.

    The step is taken on one device with its share of the batch; what devices lose to talking to
    each other, evaluation and reading are not in it.
    """
    share = {
        name: jnp.asarray(values[: len(values) // device_count]) for name, values in batch.items()
    }
    start = time.perf_counter()
    step = jax.jit(train_step).lower(state, share, key).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(step(state, share, key))
    start = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        jax.block_until_ready(step(state, share, key))
    step_seconds = (time.perf_counter() - start) / _TIMED_STEPS
    memory = step.memory_analysis()
    # The state going in and the state coming out share their buffers in a real run.
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return (
        f"Estimate: {step_seconds:.2g} s a step, {duration(total_steps * step_seconds)} for "
        f"{total_steps} steps after {compile_seconds:.0f} s to compile; {held / 2**20:.0f} MiB of "
        f"memory on each of {device_count} device(s). Nothing was trained."
    )

"""What a run will cost, found by compiling its step and taking it twice."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from brainsynth_jax.progress import duration

_TIMED_STEPS = 2


def estimate_cost(
    train_step: Callable, state: Any, key: jax.Array, options: SimpleNamespace, device_count: int
) -> str:
    """One paragraph: seconds a step, time of all steps, memory of a device, time to compile.

    The step is taken on one device with its share of the batch; what devices lose to talking to
    each other, evaluation and reading are not in it.
    """
    images = options.batch_size // device_count
    image = jnp.zeros((images, options.image_size, options.image_size, 1))
    batch = {"image_a": image, "image_b": image, "index": jnp.arange(images)}
    start = time.perf_counter()
    step = jax.jit(train_step).lower(state, batch, key).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(step(state, batch, key))
    start = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        jax.block_until_ready(step(state, batch, key))
    step_seconds = (time.perf_counter() - start) / _TIMED_STEPS
    memory = step.memory_analysis()
    # The state going in and the state coming out share their buffers in a real run.
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    steps = options.epochs * options.steps_per_epoch
    return (
        f"Estimate: {step_seconds:.2g} s a step, {duration(steps * step_seconds)} for {steps} "
        f"steps after {compile_seconds:.0f} s to compile; {held / 2**20:.0f} MiB of memory on each "
        f"of {device_count} device(s). Nothing was trained."
    )

"""The machine that is measured on: its name, its cores, its rate at matrix products."""

import os
import platform
import time
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from brainsynth_jax.models.blocks import PRECISIONS

_SIDES = {"cpu": 2048}
_LARGE_SIDE = 8192
_ROUNDS = 7


def describe_processor() -> str:
    """The processor's name and how many cores of it may be used."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = count_cores()
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def count_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def product_rate(precision: str) -> float:
    """Floating-point operations a second of a large square matrix product, the best of several.

    Measured once.

    Args:
        precision: one of `blocks.PRECISIONS`.
    """
    side = _SIDES.get(jax.default_backend(), _LARGE_SIDE)
    a = jax.random.normal(jax.random.key(0), (side, side), PRECISIONS[precision])
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(a, a))
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready(multiply(a, a))
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)

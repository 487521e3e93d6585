"""Distribution: the one place that knows how many devices there are.

A step is written for the images it is given; here it is compiled for one device (`jit`) or mapped
over several (`pmap`), each of which takes an equal part of the batch and the whole state.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from brainsynth_jax.errors import UserError

AXIS_NAME = "batch"

Step = Callable[[Any, dict[str, Array], Array], tuple[Any, dict[str, Array]]]


def choose_devices(count: int) -> list[jax.Device]:
    """The first `count` of this machine's devices, all of them for 0.

    Raises:
        UserError: there are fewer.
    """
    devices = jax.local_devices()
    if count > len(devices):
        raise UserError(
            f"--devices={count}: this machine has {len(devices)} ({devices[0].device_kind}). "
            f"Give 1 to {len(devices)}, or 0 for all."
        )
    return devices[:count] if count else devices


def check_batch_size(batch_size: int, device_count: int) -> None:
    """Raises UserError unless the batch can be cut into equal parts, one a device."""
    if batch_size % device_count:
        below = batch_size // device_count * device_count
        fitting = " or ".join(str(n) for n in (below, below + device_count) if n)
        raise UserError(
            f"--batch_size={batch_size} cannot be shared equally by {device_count} devices. "
            f"Choose a multiple of {device_count}, such as {fitting}, or fewer --devices."
        )


def compile_step(make_step: Callable[[str | None], Step], devices: Sequence[jax.Device]) -> Step:
    """Compiles `make_step(axis_name)` for the devices.

    The compiled step takes and gives back the state whole and the metrics of the whole batch, with
    any number of devices; the state given to it is used up (its buffers are reused).

    Args:
        make_step: returns the pure step for a device axis of that name, None for one device.
        devices: the batch is cut into as many parts.
    """
    if len(devices) == 1:
        return jax.jit(make_step(None), donate_argnums=0)
    mapped = jax.pmap(
        make_step(AXIS_NAME),
        axis_name=AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=0,
    )

    def step(state, batch, key):
        parts = {
            name: np.reshape(values, (len(devices), -1, *values.shape[1:]))
            for name, values in batch.items()
        }
        return mapped(state, parts, key)

    return step


def place_state(state: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts a copy of the state on every device, as the compiled step wants it.

    Without this a mapped step would compile a second time for its own output.
    """
    return _place(state, devices, PartitionSpec())


def place_batch(batch: Any, devices: Sequence[jax.Device]) -> Any:
    """Cuts arrays along their first axis into equal parts, one a device, for a jitted function."""
    return _place(batch, devices, PartitionSpec(AXIS_NAME))


def _place(tree: Any, devices: Sequence[jax.Device], spec: PartitionSpec) -> Any:
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    return jax.device_put(tree, NamedSharding(Mesh(np.array(devices), (AXIS_NAME,)), spec))

"""Distribution: the one place that knows how many devices there are.

A step is written for the images it is given; here it is compiled for one device (`jit`) or mapped
over several (`pmap`), each of which takes an equal part of the batch and the whole state.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jax.stages import Lowered

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


def trace_step(
    make_step: Callable[[str | None], Step],
    devices: Sequence[jax.Device],
    state: Any,
    batch: dict[str, Any],
    key: Array,
) -> Lowered:
    """Writes `make_step(axis_name)` down for the devices; `compile()` of that is the step.

    The step takes and gives back the state as `place_state` places it, takes batches as
    `share_batch` cuts them, and gives the metrics of the whole batch, with any number of devices.
    The state given to it is used up (its buffers are reused).

    Args:
        make_step: returns the pure step for a device axis of that name, None for one device.
        devices: that share each batch.
        state: of such shapes and types as all will be; `describe_state`'s will do.
        batch: cut by `share_batch`, likewise.
        key: the run's random key.
    """
    if len(devices) == 1:
        return jax.jit(make_step(None), donate_argnums=0).lower(state, batch, key)
    mapped = jax.pmap(
        make_step(AXIS_NAME),
        axis_name=AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=0,
    )
    return mapped.lower(state, batch, key)


def share_batch(batch: dict[str, Any], devices: Sequence[jax.Device]) -> dict[str, Any]:
    """Cuts arrays into equal parts along a new first axis, one a device; for one leaves them."""
    if len(devices) == 1:
        return batch
    return {
        name: np.reshape(values, (len(devices), -1, *values.shape[1:]))
        for name, values in batch.items()
    }


def describe_state(create_state: Callable[[], Any], devices: Sequence[jax.Device]) -> Any:
    """Shapes, types and places of what `place_state(create_state(), devices)` would be."""
    sharding = _sharding(devices, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(create_state),
    )


def place_state(state: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts a copy of the state on every device, as a step wants it."""
    return jax.device_put(state, _sharding(devices, PartitionSpec()))


def place_batch(batch: Any, devices: Sequence[jax.Device]) -> Any:
    """Cuts arrays along their first axis into equal parts, one a device, for a jitted function."""
    return jax.device_put(batch, _sharding(devices, PartitionSpec(AXIS_NAME)))


def _sharding(devices: Sequence[jax.Device], spec: PartitionSpec) -> Sharding:
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0])
    return NamedSharding(Mesh(np.array(devices), (AXIS_NAME,)), spec)

"""Distribution: the one place that knows how many devices there are.

A step is written for the images it is given; here it is compiled for one device (`jit`) or mapped
over several (`pmap`), each of which takes an equal part of the batch and the whole state. The
devices may belong to several processes; each holds the state on its own devices and cuts its own
part of the batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jax.stages import Lowered, Wrapped

from brainsynth_jax.errors import UserError

AXIS_NAME = "batch"

# Arrays of fewer numbers travel as one: a message takes up to milliseconds, however short it is.
_SMALL = 2**15

Step = Callable[[Any, dict[str, Array], Array], tuple[Any, dict[str, Array]]]


def choose_devices(count: int) -> list[jax.Device]:
    """The first `count` devices of each process, all of them for 0, in the order of processes.

    Raises:
        UserError: there are fewer, or one process has more than another.
    """
    found = [jax.local_devices(process) for process in range(jax.process_count())]
    fewest = min(found, key=len)
    if count > len(fewest):
        raise UserError(
            f"--devices={count}: {_owner(fewest)} has {len(fewest)} ({fewest[0].device_kind}). "
            f"Give 1 to {len(fewest)}, or 0 for all."
        )
    most = max(found, key=len)
    if not count and len(most) > len(fewest):
        raise UserError(
            f"{_owner(most)} has {len(most)} devices and {_owner(fewest)} has {len(fewest)}. Each "
            f"has to take an equal part of the batch: give --devices={len(fewest)}."
        )
    return [device for devices in found for device in devices[: count or None]]


def local_devices(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of them that are this process's."""
    return [device for device in devices if device.process_index == jax.process_index()]


def _owner(devices: Sequence[jax.Device]) -> str:
    return "this machine" if jax.process_count() == 1 else f"process {devices[0].process_index}"


def check_batch_size(batch_size: int, device_count: int) -> None:
    """Raises UserError unless the batch can be cut into equal parts, one a device."""
    if batch_size % device_count:
        below = batch_size // device_count * device_count
        fitting = " or ".join(str(n) for n in (below, below + device_count) if n)
        raise UserError(
            f"--batch_size={batch_size} cannot be shared equally by {device_count} devices. "
            f"Choose a multiple of {device_count}, such as {fitting}, or fewer --devices."
        )


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """Of a tree of float32 arrays on each device, the mean; for the body of a step.

    Args:
        tree: arrays of any shapes.
        axis_name: of the device axis that the step is mapped over, or None on one device, whose
            arrays are given back.
    """
    if axis_name is None:
        return tree
    # Divided before they travel, each where it is made: no pass over their sums is needed.
    shares = jax.tree.map(lambda x: x / lax.axis_size(axis_name), tree)
    leaves, structure = jax.tree.flatten(shares)
    small = [k for k, leaf in enumerate(leaves) if leaf.size < _SMALL]
    large = {k: leaf for k, leaf in enumerate(leaves) if k not in small}
    joined, cut = ravel_pytree([leaves[k] for k in small])
    joined, means = lax.psum((joined, large), axis_name)
    means |= zip(small, cut(joined), strict=True)
    return structure.unflatten([means[k] for k in range(len(leaves))])


def trace_step(
    make_step: Callable[[str | None], Step],
    devices: Sequence[jax.Device],
    state: Any,
    batch: dict[str, Any],
    key: Array,
) -> Lowered:
    """Writes `make_step(axis_name)` down for devices of one process; its `compile()` is the step.

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
    return _map_step(make_step, devices).lower(state, batch, key)


def compile_step(
    make_step: Callable[[str | None], Step],
    devices: Sequence[jax.Device],
    state: Any,
    batch: dict[str, Any],
    key: Array,
) -> Step:
    """The compiled step of `trace_step`; of several processes, one that is compiled when called."""
    if jax.process_count() > 1:  # a mapped step over several is not to be had before its arrays
        return _map_step(make_step, devices)
    return trace_step(make_step, devices, state, batch, key).compile()


def _map_step(make_step: Callable[[str | None], Step], devices: Sequence[jax.Device]) -> Wrapped:
    if len(devices) == 1:
        return jax.jit(make_step(None), donate_argnums=0)
    return jax.pmap(
        make_step(AXIS_NAME),
        axis_name=AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=0,
    )


def share_batch(batch: dict[str, Any], devices: Sequence[jax.Device]) -> dict[str, Any]:
    """Cuts this process's part of a batch for the step.

    Arrays get a new first axis, one entry for each of this process's devices; for a single device
    in all they stay as they are.
    """
    if len(devices) == 1:
        return batch
    own = len(local_devices(devices))
    return {
        name: np.reshape(values, (own, -1, *values.shape[1:])) for name, values in batch.items()
    }


def describe_state(create_state: Callable[[], Any], devices: Sequence[jax.Device]) -> Any:
    """Shapes, types and places of what `place_state(create_state(), devices)` would be."""
    return _describe(jax.eval_shape(create_state), local_devices(devices))


def place_state(state: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts a copy of the state on every device of this process, as a step wants it."""
    return jax.device_put(state, _sharding(local_devices(devices), PartitionSpec()))


def spread_state(state: Any, devices: Sequence[jax.Device]) -> Any:
    """A state of `place_state` as arrays of all processes together, as checkpoints hold them."""
    if jax.process_count() == 1:
        return state
    mesh = Mesh(np.array(devices), (AXIS_NAME,))
    return multihost_utils.host_local_array_to_global_array(state, mesh, PartitionSpec())


def describe_spread(state: Any, devices: Sequence[jax.Device]) -> Any:
    """Shapes, types and places of what `spread_state` gives."""
    return state if jax.process_count() == 1 else _describe(state, devices)


def gather_state(state: Any, devices: Sequence[jax.Device]) -> Any:
    """The opposite of `spread_state`."""
    if jax.process_count() == 1:
        return state
    mesh = Mesh(np.array(devices), (AXIS_NAME,))
    return multihost_utils.global_array_to_host_local_array(state, mesh, PartitionSpec())


def place_batch(batch: Any, devices: Sequence[jax.Device]) -> Any:
    """Cuts arrays along their first axis into equal parts, one a device, for a jitted function."""
    return jax.device_put(batch, _sharding(devices, PartitionSpec(AXIS_NAME)))


def _describe(state: Any, devices: Sequence[jax.Device]) -> Any:
    """The state's shapes and types, whole on each of the devices."""
    sharding = _sharding(devices, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
    )


def _sharding(devices: Sequence[jax.Device], spec: PartitionSpec) -> Sharding:
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0])
    return NamedSharding(Mesh(np.array(devices), (AXIS_NAME,)), spec)

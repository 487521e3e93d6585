"""A training step in one of several processes: python -m ..., told what by its arguments.

ADDRESS COUNT INDEX ROUNDS and a workload as JSON. Prints the median of a step's seconds.
"""

import json
import statistics
import sys
import time
from functools import partial

import jax

from brainsynth_jax.benchmark.jax_steps import create_state, make_step
from brainsynth_jax.benchmark.workload import Workload, make_batch
from brainsynth_jax.training import processes
from brainsynth_jax.training.parallel import (
    choose_devices,
    compile_step,
    describe_state,
    local_devices,
    place_state,
    share_batch,
)


def main() -> None:
    """Joins the others, takes the steps, and parts."""
    address, count, index, rounds, wanted = sys.argv[1:]
    if int(count) > 1:
        processes.join(processes.Place(address, int(count), int(index)))
    workload = Workload(**json.loads(wanted))
    devices = choose_devices(0)
    own = len(local_devices(devices))
    size = own * workload.batch_size
    batch = make_batch(workload._replace(batch_size=size))
    batch["index"] += int(index) * size
    batch = share_batch(batch, devices)
    described = describe_state(partial(create_state, workload), devices)
    key = jax.random.key(1)
    step = compile_step(make_step(workload), devices, described, batch, key)
    state = place_state(create_state(workload), devices)
    seconds = []
    for _ in range(1 + int(rounds)):  # the first one warms up
        start = time.perf_counter()
        state, metrics = step(state, batch, key)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds[1:]))
    processes.leave()


if __name__ == "__main__":
    main()

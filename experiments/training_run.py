"""One run trained in its folder: begun or gone on with, stopped or finished."""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import jax

from brainsynth_jax import process_memory
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.logs import Logs
from brainsynth_jax.training.loop import EpochResult, Plan, train
from brainsynth_jax.training.memory import forget_traces
from brainsynth_jax.training.parallel import (
    Step,
    describe_state,
    place_state,
    share_batch,
    trace_step,
)
from brainsynth_jax.training.stop_request import StopRequest


def train_run(
    script: str,
    workdir: Path,
    create_state: Callable[[], Any],
    make_step: Callable[[str | None], Step],
    open_batches: Callable[[int], Iterator[dict[str, Any]]],
    key: jax.Array,
    plan: Plan,
    finish_epoch: Callable[[Any, int], EpochResult],
    keep_checkpoints: int,
    devices: Sequence[jax.Device],
) -> Any:
    """Trains from the newest checkpoint in the folder or the first state; gives back the last.

    Where Ctrl-C or SIGTERM comes before the end, all is saved, the way to go on is printed, and the
    process exits with 128 + the signal's number.

    Args:
        script: for the message.
        workdir: the run's folder, held by this process.
        create_state: makes the first state.
        make_step: as for `trace_step`.
        open_batches: from a step's number, the batches from that step on.
        key: the run's random key.
        plan: how long.
        finish_epoch: as for `train`.
        keep_checkpoints: how many of the newest stay.
        devices: share each batch.
    """
    with (
        StopRequest() as stop,
        Checkpoints(workdir / "checkpoints", keep_checkpoints) as checkpoints,
    ):
        process_memory.forget_peak()  # of preparing the slices
        described = describe_state(create_state, devices)
        step, state = checkpoints.restore_newest(described) or (0, None)
        if step >= plan.total_steps:
            print(f"Nothing is left to train: the run is at step {step}.")
            return state
        if step:
            print(f"Going on from step {step} of {plan.total_steps}.")
        batches = (share_batch(batch, devices) for batch in open_batches(step))
        first = next(batches)
        step_function = trace_step(make_step, devices, described, first, key).compile()
        process_memory.release_freed()
        if state is None:  # not made before: what compiling leaves behind would lie in between
            state = place_state(create_state(), devices)
        forget_traces()
        with Logs(workdir, step) as logs:
            state = train(
                state,
                step_function,
                chain([first], batches),
                key,
                plan,
                logs,
                checkpoints,
                finish_epoch,
                stop,
            )
    if stop.received and state.step < plan.total_steps:
        print(
            f"Stopped by {stop.received.name} after step {state.step} of {plan.total_steps}; "
            f"all is saved. To go on:\n  python experiments/{script}.py --workdir={workdir}"
        )
        sys.exit(128 + stop.received)
    return state

"""One run trained in its folder: begun or gone on with, stopped or finished."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.logs import Logs
from brainsynth_jax.training.loop import EpochResult, Plan, train
from brainsynth_jax.training.parallel import Step, compile_step, place_state
from brainsynth_jax.training.stop_request import StopRequest


def train_run(
    script: str,
    workdir: Path,
    state: Any,
    make_step: Callable[[str | None], Step],
    open_batches: Callable[[int], Iterator[dict[str, Any]]],
    key: jax.Array,
    plan: Plan,
    finish_epoch: Callable[[Any, int], EpochResult],
    keep_checkpoints: int,
    devices: Sequence[jax.Device],
) -> Any:
    """Trains from the newest checkpoint in the folder, else from `state`; gives back the last one.

    Where Ctrl-C or SIGTERM comes before the end, all is saved, the way to go on is printed, and the
    process exits with 128 + the signal's number.

    Args:
        script: for the message.
        workdir: the run's folder, held by this process.
        state: of step 0; used up.
        make_step: as for `compile_step`.
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
        state = place_state(state, devices)
        step, state = checkpoints.restore_newest(state) or (0, state)
        if step >= plan.total_steps:
            print(f"Nothing is left to train: the run is at step {step}.")
        elif step:
            print(f"Going on from step {step} of {plan.total_steps}.")
        with Logs(workdir, step) as logs:
            state = train(
                state,
                compile_step(make_step, devices),
                open_batches(step),
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

"""One run trained in its folder: begun or gone on with, stopped or finished."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import jax

from brainsynth_jax import process_memory
from brainsynth_jax.errors import UserError
from brainsynth_jax.training import processes
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.logs import Logs, NoLogs, count_rollbacks
from brainsynth_jax.training.loop import DivergedError, EpochResult, Plan, train
from brainsynth_jax.training.memory import forget_traces
from brainsynth_jax.training.parallel import (
    Step,
    compile_step,
    describe_state,
    place_state,
    share_batch,
)
from brainsynth_jax.training.stop_request import StopRequest

# Of the learning rate, after each.
_RATE_OF_A_ROLLBACK = 0.5


def train_run(
    script: str,
    workdir: Path,
    create_state: Callable[[], Any],
    make_step_at: Callable[[float], Callable[[str | None], Step]],
    open_batches: Callable[[int], Iterator[dict[str, Any]]],
    key: jax.Array,
    plan: Plan,
    finish_epoch: Callable[[Any, int], EpochResult],
    keep_checkpoints: int,
    devices: Sequence[jax.Device],
    rollbacks: int = 0,
) -> Any:
    """Trains from the newest checkpoint in the folder or the first state; gives back the last.

    Where Ctrl-C or SIGTERM comes before the end, all is saved, the way to go on is printed, and the
    process exits with 128 + the signal's number.

    Args:
        script: for the message.
        workdir: the run's folder, held by this process.
        create_state: makes the first state.
        make_step_at: gives, for a factor of the learning rate, what `compile_step` takes.
        open_batches: from a step's number, this process's part of the batches from that step on.
        key: the run's random key.
        plan: how long.
        finish_epoch: as for `train`.
        keep_checkpoints: how many of the newest stay.
        devices: share each batch.
        rollbacks: how often the run may go back to its newest checkpoint, and on at half the
            learning rate, because a loss or a weight was not a number.
    """
    with (
        StopRequest() as stop,
        Checkpoints(workdir / "checkpoints", keep_checkpoints, devices=devices) as checkpoints,
        processes.noticing_loss(),
    ):

        def go_on(state: Any, step: int, rate: float) -> Any:
            batches = (share_batch(batch, devices) for batch in open_batches(step))
            first = next(batches)
            step_function = compile_step(make_step_at(rate), devices, described, first, key)
            process_memory.release_freed()
            if state is None:  # not made before: what compiling leaves behind would lie in between
                state = place_state(create_state(), devices)
            forget_traces()
            with Logs(workdir, step) if processes.is_first() else NoLogs() as logs:
                return train(
                    state,
                    step_function,
                    chain([first], batches),
                    key,
                    plan,
                    logs,
                    checkpoints,
                    _finish_together(finish_epoch),
                    stop,
                )

        process_memory.forget_peak()  # of preparing the slices
        described = describe_state(create_state, devices)
        last = None
        while last is None:
            step, state = checkpoints.restore_newest(described) or (0, None)
            if step >= plan.total_steps:
                print(f"Nothing is left to train: the run is at step {step}.")
                return state
            if step:
                print(f"Going on from step {step} of {plan.total_steps}.")
            rolled_back = _count_rollbacks_together(workdir, step)
            try:
                last = go_on(state, step, _RATE_OF_A_ROLLBACK**rolled_back)
            except DivergedError as error:
                del state
                if rolled_back >= rollbacks:
                    tried = (
                        f"It has gone back {rolled_back} times, as --max_rollbacks allows."
                        if rollbacks
                        else "Or go on from its newest checkpoint by --on_nan=rollback."
                    )
                    raise UserError(f"{error} {tried}") from None
                _note_rollback(workdir, checkpoints, plan, rolled_back + 1, error)
    if stop.heeded and last.step < plan.total_steps:
        print(
            f"Stopped by {stop.heeded.name} after step {last.step} of {plan.total_steps}; "
            f"all is saved. To go on:\n  python experiments/{script}.py --workdir={workdir}"
        )
        sys.exit(128 + stop.heeded)
    return last


def _count_rollbacks_together(workdir: Path, step: int) -> int:
    count = count_rollbacks(workdir, step) if processes.is_first() else 0
    return int(processes.tell_numbers([count])[0])


def _note_rollback(
    workdir: Path, checkpoints: Checkpoints, plan: Plan, number: int, error: DivergedError
) -> None:
    """Says that the run goes back, and leaves a record of it at the step that it goes back to."""
    step = max(checkpoints.steps, default=0)
    rate = _RATE_OF_A_ROLLBACK**number
    what = str(error).split(". ")[0].removeprefix("Training stopped at ")
    print(f"warning: {what}. Rollback {number} to step {step}, at {rate:g} of the learning rate.")
    if processes.is_first():
        with Logs(workdir, step) as logs:
            epoch = math.ceil(step / plan.steps_per_epoch)
            logs.write(step, epoch, {"rollback": number, "learning_rate_factor": rate})


def _finish_together(
    finish_epoch: Callable[[Any, int], EpochResult],
) -> Callable[[Any, int], EpochResult]:
    """What the first process finds at the end of an epoch, for all to go by."""

    def finish(state: Any, epoch: int) -> EpochResult:
        result = finish_epoch(state, epoch) if processes.is_first() else EpochResult({}, None)
        score = math.nan if result.score is None else result.score
        score, ends = processes.tell_numbers([score, result.ends])
        return result._replace(score=None if math.isnan(score) else score, ends=bool(ends))

    return finish

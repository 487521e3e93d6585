"""The loop around a training step: batches in, logs and checkpoints out. Knows no model."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from brainsynth_jax import process_memory
from brainsynth_jax.errors import UserError
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.logs import Logs
from brainsynth_jax.training.memory import peak_memory_mib
from brainsynth_jax.training.stop_request import StopRequest


class Plan(NamedTuple):
    """How long to train and how often to log.

    Attributes:
        epochs: in all, those of earlier runs of the same folder counted in.
        steps_per_epoch: optimiser updates in an epoch.
        log_every_steps: a record is logged at each multiple, and at the end of each epoch.
        shown: names of the metrics shown beside the progress.
    """

    epochs: int
    steps_per_epoch: int
    log_every_steps: int
    shown: tuple[str, ...]

    @property
    def total_steps(self) -> int:
        """Optimiser updates in all."""
        return self.epochs * self.steps_per_epoch


class EpochResult(NamedTuple):
    """What the end of an epoch found.

    Attributes:
        values: named numbers, for the log.
        score: higher is better, for keeping the best checkpoint; None where there is none.
        ends: whether the run is to end here.
    """

    values: dict[str, float]
    score: float | None
    ends: bool = False


class DivergedError(UserError):
    """A metric or a weight is no longer a finite number."""


def train(
    state: Any,
    step_function: Callable,
    batches: Iterator[dict[str, Any]],
    key: Array,
    plan: Plan,
    logs: Logs,
    checkpoints: Checkpoints,
    finish_epoch: Callable[[Any, int], EpochResult],
    stop: StopRequest,
) -> Any:
    """Trains from `state.step` to the end of the plan, or until told to stop or an epoch ends it.

    Args:
        state: with a `step` counter; used up.
        step_function: `(state, batch, key) -> (state, metrics)`, compiled.
        batches: the first is the one of step `state.step`.
        key: the run's random key.
        plan: how long.
        logs: takes the metrics of each logged step with `seconds_per_step` since the last one and
            `seconds_waiting` of these for a batch, and at the end of each epoch what it found and
            `peak_memory_mib`: of compiling and training so far, on a GPU since the program's start.
        checkpoints: takes the state at the end of each epoch and when stopped.
        finish_epoch: called with the state and the epoch's number, from 1.
        stop: asked after each step.

    Returns:
        The last state, with a checkpoint of it written. When stopped or ended early, `state.step`
        is less than `plan.total_steps`.

    Raises:
        DivergedError: a metric or a weight is not finite.
        UserError: a checkpoint cannot be written.
    """
    step = int(state.step)
    unchecked: list[tuple[int, dict[str, Array]]] = []
    clock, clock_step, waited = time.perf_counter(), step, 0.0

    with Progress("Training", plan.total_steps, "step", done=step) as progress:
        note = ""
        ended = False
        while step < plan.total_steps and not stop.is_due(step) and not ended:
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            state, metrics = step_function(state, batch, key)
            step += 1
            unchecked.append((step, metrics))
            ends_epoch = step % plan.steps_per_epoch == 0
            if ends_epoch or step % plan.log_every_steps == 0:
                epoch = math.ceil(step / plan.steps_per_epoch)
                values = _checked(unchecked, checkpoints)
                unchecked.clear()
                steps = step - clock_step
                values |= {
                    "seconds_per_step": (time.perf_counter() - clock) / steps,
                    "seconds_waiting": waited / steps,
                }
                logs.write(step, epoch, values)
                note = " ".join(f"{name} {values[name]:.3f}" for name in plan.shown)
                if ends_epoch:
                    _check_weights(step, state, checkpoints)
                    result = finish_epoch(state, epoch)
                    logs.write(step, epoch, result.values | {"peak_memory_mib": peak_memory_mib()})
                    checkpoints.save(step, state, result.score)
                    if jax.default_backend() == "cpu":
                        # What is being written, a step could not use again: it would take as much
                        # once more, and be slowed down by what the writing saves.
                        checkpoints.wait()
                    process_memory.release_freed()
                    ended = result.ends
                clock, clock_step, waited = time.perf_counter(), step, 0.0
            progress.advance(1, note)

    if unchecked:
        _checked(unchecked, checkpoints)
    if step not in checkpoints.steps:
        _check_weights(step, state, checkpoints)
        checkpoints.save(step, state)
    checkpoints.wait()
    return state


def _check_weights(step: int, state: Any, checkpoints: Checkpoints) -> None:
    """Raises DivergedError where a value of the state is not finite: metrics are older than it."""
    if not _all_finite(state):
        raise _not_finite(step, "a weight", "not finite", checkpoints)


@jax.jit
def _all_finite(state: Any) -> Array:
    numbers = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in numbers]))


def _checked(
    metrics: list[tuple[int, dict[str, Array]]], checkpoints: Checkpoints
) -> dict[str, float]:
    """The last step's metrics as floats, after a look at all steps since the last log."""
    for step, values in jax.device_get(metrics):
        values = {name: float(value) for name, value in values.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise _not_finite(step, name, value, checkpoints)
    return values


def _not_finite(step: int, name: str, value: object, checkpoints: Checkpoints) -> DivergedError:
    checkpoints.wait()
    good = checkpoints.steps
    last = (
        f"The last good checkpoint is step {good[-1]} in {checkpoints.folder}."
        if good
        else "There was no checkpoint yet."
    )
    return DivergedError(
        f"Training stopped at step {step}: {name} is {value}. {last} Try, in a new "
        "--workdir, a lower --learning_rate, --precision=float32 or another --seed."
    )

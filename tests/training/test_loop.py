"""The loop with a toy step: what is logged, saved, stopped and refused."""

import os
import signal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.logs import Logs, read_metrics
from brainsynth_jax.training.loop import EpochResult, Plan, train
from brainsynth_jax.training.stop_request import StopRequest


class ToyState(NamedTuple):
    step: jax.Array
    total: jax.Array


def add_batch(state, batch, key):
    state = ToyState(state.step + 1, state.total + batch["x"])
    return state, {"loss": state.total}


def after_steps(count):
    """A request to stop that comes after so many steps."""

    class AfterSteps(StopRequest):
        left = count

        @property
        def received(self):
            self.left -= 1
            return signal.SIGTERM if self.left < 0 else None

        @received.setter
        def received(self, value):
            pass

    return AfterSteps()


def run(workdir, values, plan=None, finish_epoch=None, stop=None, step_function=add_batch):
    """Trains the toy on `values`, one a step; returns the last state and the checkpointed steps."""
    plan = plan or Plan(epochs=2, steps_per_epoch=3, log_every_steps=2, shown=("loss",))
    finish_epoch = finish_epoch or (lambda state, epoch: EpochResult({}, None))
    workdir.mkdir(exist_ok=True)
    with Checkpoints(workdir / "checkpoints") as checkpoints, stop or StopRequest() as stop:
        state = ToyState(jnp.int32(0), jnp.float32(0))
        step, state = checkpoints.restore_newest(state) or (0, state)
        batches = ({"x": jnp.float32(value)} for value in values[step:])
        with Logs(workdir, step) as logs:
            state = train(
                state,
                step_function,
                batches,
                jax.random.key(0),
                plan,
                logs,
                checkpoints,
                finish_epoch,
                stop,
            )
        return state, checkpoints.steps


def test_it_logs_and_saves_by_the_plan(tmp_path):
    seen = []

    def finish_epoch(state, epoch):
        seen.append((epoch, float(state.total)))
        return EpochResult({"dice": epoch / 10}, epoch / 10)

    state, saved = run(tmp_path, range(1, 7), finish_epoch=finish_epoch)
    assert float(state.total) == 21
    assert saved == [3, 6]
    assert seen == [(1, 6.0), (2, 21.0)]
    records = read_metrics(tmp_path)
    losses = [(r["step"], r["epoch"], r["loss"]) for r in records if "loss" in r]
    assert losses == [(2, 1, 3.0), (3, 1, 6.0), (4, 2, 10.0), (6, 2, 21.0)]
    assert all(r["seconds_per_step"] > r["seconds_waiting"] >= 0 for r in records if "loss" in r)
    assert [(r["step"], r["dice"]) for r in records if "dice" in r] == [(3, 0.1), (6, 0.2)]
    assert [r["step"] for r in records if "peak_memory_mib" in r] == [3, 6]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="copied from a GPU before the next step")
def test_a_checkpoint_is_written_before_the_next_step_could_change_it(tmp_path):
    """Else the step would need as much memory again."""
    written = []

    def look_and_add(state, batch, key):
        written.append(sorted(path.name for path in (tmp_path / "checkpoints").iterdir()))
        return add_batch(state, batch, key)

    run(tmp_path, range(1, 7), step_function=look_and_add)
    assert written == [[], [], [], ["3"], ["3"], ["3"]]


def test_an_epoch_may_end_the_run(tmp_path):
    def finish_epoch(state, epoch):
        return EpochResult({}, -float(state.total), ends=epoch == 2)

    plan = Plan(epochs=5, steps_per_epoch=1, log_every_steps=1, shown=())
    state, saved = run(tmp_path, range(1, 6), plan, finish_epoch)
    assert float(state.total) == 3
    assert saved == [1, 2]


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(tmp_path):
    values = [1, 1, 1, 1, float("nan"), 1]
    with pytest.raises(UserError, match=r"step 5: loss is nan.*last good checkpoint is step 3"):
        run(tmp_path, values)
    plan = Plan(epochs=1, steps_per_epoch=6, log_every_steps=6, shown=("loss",))
    with pytest.raises(UserError, match=r"step 2: loss is inf.*no checkpoint yet"):
        run(tmp_path / "other", [1, float("inf"), 1, 1, 1, 1], plan)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """A loss is computed before the update, so the last step's says nothing of its weights."""

    def overflow(state, batch, key):
        good = state.total
        return ToyState(state.step + 1, state.total + batch["x"]), {"loss": good}

    with pytest.raises(UserError, match=r"step 6: a weight is not finite.*is step 3"):
        run(tmp_path, [1, 1, 1, 1, 1, float("inf")], step_function=overflow)


@pytest.mark.parametrize("stopped_at", [2, 3, 4])
def test_a_run_stopped_as_soon_as_it_went_on_keeps_its_checkpoint(tmp_path, stopped_at):
    values = list(range(1, 7))
    run(tmp_path, values, stop=after_steps(stopped_at))
    state, saved = run(tmp_path, values, stop=after_steps(0))
    assert int(state.step) == saved[-1] == stopped_at


@pytest.mark.parametrize("stopped_at", [2, 3, 4])
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, stopped_at):
    values = list(range(1, 7))
    state, saved = run(tmp_path, values, stop=after_steps(stopped_at))
    assert int(state.step) == stopped_at
    assert saved[-1] == stopped_at
    state, saved = run(tmp_path, values)
    assert float(state.total) == 21
    records = read_metrics(tmp_path)
    assert [r["step"] for r in records if "loss" in r] == [2, 3, 4, 6]
    assert [r["step"] for r in records if "loss" not in r] == [3, 6]


def test_a_signal_is_noted_and_the_second_ctrl_c_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_disk_is_told_with_the_way_out(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:

        def no_space(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoints._manager, "save", no_space)
        with pytest.raises(UserError, match=r"No space left.*same --workdir.*checkpoint of \[\]"):
            checkpoints.save(1, {"x": jnp.zeros(2)})


def test_what_was_logged_after_the_checkpoint_is_logged_again(tmp_path):
    with Logs(tmp_path) as logs:
        for step in (1, 2, 3):
            logs.write(step, 1, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ep')  # cut off by a crash
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2, 3]
    with Logs(tmp_path, step=2) as logs:
        logs.write(3, 1, {"loss": 30.0})
    assert [r["loss"] for r in read_metrics(tmp_path)] == [1, 2, 30.0]

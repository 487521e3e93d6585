"""A run with a toy step: what happens when its numbers stop being numbers."""

import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_checks import EXPERIMENTS

sys.path.insert(0, str(EXPERIMENTS))

from training_run import train_run

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import EpochResult, Plan


class ToyState(NamedTuple):
    step: jax.Array
    total: jax.Array


def run(workdir, highest, rollbacks):
    """Adds up 1 a step, times the rate; a total above `highest` overflows."""

    def make_step_at(rate):
        def step(state, batch, key):
            total = state.total + rate * batch["x"][0]
            total = jnp.where(total > highest, jnp.inf, total)
            return ToyState(state.step + 1, total), {"loss": total}

        return lambda axis_name: step

    workdir.mkdir(exist_ok=True)
    return train_run(
        "cyclegan",
        workdir,
        lambda: ToyState(jnp.int32(0), jnp.float32(0)),
        make_step_at,
        lambda step: iter([{"x": np.ones(1, np.float32)}] * 99),
        jax.random.key(0),
        Plan(epochs=4, steps_per_epoch=2, log_every_steps=1, shown=("loss",)),
        lambda state, epoch: EpochResult({}, None),
        3,
        jax.local_devices()[:1],
        rollbacks,
    )


def test_a_run_goes_back_to_its_checkpoint_and_on_at_half_the_rate(tmp_path, capsys):
    state = run(tmp_path, highest=5.6, rollbacks=3)
    # 4 steps of 1; 5.0 is good and 6.0 is not; from step 4 at a half: 4.5 5.0 5.5 and not 6.0; from
    # step 6 and its 5.0 at a quarter.
    assert float(state.total) == 5.5
    assert int(state.step) == 8
    records = read_metrics(tmp_path)
    back = [record for record in records if "rollback" in record]
    assert [(r["step"], r["rollback"]) for r in back] == [(4, 1), (6, 2)]
    assert [r["learning_rate_factor"] for r in back] == [0.5, 0.25]
    assert [r["loss"] for r in records if "loss" in r] == [1, 2, 3, 4, 4.5, 5, 5.25, 5.5]
    out = capsys.readouterr().out
    assert "warning: step 6: loss is inf. Rollback 1 to step 4, at 0.5 of the learning rate" in out


def test_a_run_that_went_back_goes_on_at_the_lower_rate_after_a_stop(tmp_path):
    with pytest.raises(UserError, match="step 8: loss is inf"):
        run(tmp_path, highest=5.6, rollbacks=1)
    assert float(run(tmp_path, highest=9, rollbacks=1).total) == 6


def test_without_a_checkpoint_it_begins_again(tmp_path):
    state = run(tmp_path, highest=0.6, rollbacks=20)
    assert 0.5 < float(state.total) <= 0.6
    back = [record["step"] for record in read_metrics(tmp_path) if "rollback" in record]
    assert back[:3] == [0, 0, 2]


@pytest.mark.parametrize(
    ("rollbacks", "told"), [(0, "--on_nan=rollback"), (2, "gone back 2 times.*--max_rollbacks")]
)
def test_it_goes_back_so_many_times_at_most(tmp_path, rollbacks, told):
    with pytest.raises(UserError, match=rf"loss is inf.*{told}"):
        run(tmp_path, highest=0.1, rollbacks=rollbacks)
    assert sum("rollback" in r for r in read_metrics(tmp_path)) == rollbacks

"""What a run is told about itself."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

from cyclegan_evaluation import warn_of_collapse


def records(*dice):
    losses = [{"step": 100 * n + 50, "Gen": 1.0} for n in range(len(dice))]
    watched = [{"step": 100 * n, "train_dice": value} for n, value in enumerate(dice, start=1)]
    return losses + watched


@pytest.mark.parametrize("dice", [(), (0.7,), (0.2, 0.7, 0.6), (None, None)])
def test_a_sound_run_is_not_warned_of(dice):
    assert warn_of_collapse(records(*dice), Path("runs/x")) == []


def test_a_collapsed_run_is_told_where_its_best_weights_are():
    (warning,) = warn_of_collapse(records(0.5, 0.73, 0.71, 0.01), Path("runs/x"))
    assert "0.73 at step 200 and is 0.01 at step 400" in warning
    assert "--workdir=runs/x --checkpoint=best" in warning
    assert "--discriminator_noise" in warning

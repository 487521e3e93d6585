import numpy as np
import pytest
from scipy import stats

from brainsynth_jax.evaluation.bootstrap import bootstrap_mean_interval, summarize


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).beta(5, 2, size=23)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap_mean_interval(values, seed=2)
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_interval_of_two_values_is_exact():
    # Means of two draws from {0, 1} are 0, 1/2, 1 with chances 1/4, 1/2, 1/4: each tail of 2.5 %
    # lies in an outer one, each tail of 30 % in the middle.
    assert bootstrap_mean_interval([0.0, 1.0], seed=0) == (0.0, 1.0)
    assert bootstrap_mean_interval([0.0, 1.0], seed=0, level=0.4) == (0.5, 0.5)


def test_same_seed_same_interval():
    values = np.random.default_rng(0).random(9)
    assert bootstrap_mean_interval(values, seed=5) == bootstrap_mean_interval(values, seed=5)
    assert bootstrap_mean_interval(values, seed=5) != bootstrap_mean_interval(values, seed=6)


def test_nan_is_left_out():
    with_nan = bootstrap_mean_interval([np.nan, 0.2, 0.4, np.nan, 0.9], seed=1)
    assert with_nan == bootstrap_mean_interval([0.2, 0.4, 0.9], seed=1)


@pytest.mark.parametrize("values", [[], [0.7], [np.nan, 0.7, np.nan]])
def test_fewer_than_two_values_have_no_interval(values):
    assert bootstrap_mean_interval(values, seed=0) is None


def test_a_summary_leaves_out_and_counts_what_is_undefined():
    summary = summarize([0.0, None, 1.0, None, None], seed=0)
    assert summary == {"mean": 0.5, "interval_95": [0.0, 1.0], "subjects": 2, "undefined": 3}
    assert summarize([0.7], seed=0)["interval_95"] is None
    assert summarize([None], seed=0)["mean"] is None

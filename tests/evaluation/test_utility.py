import json

import numpy as np
import pytest
from scipy import stats

from brainsynth_jax.evaluation import utility
from brainsynth_jax.evaluation.utility import (
    REAL,
    SYNTHETIC,
    USUAL,
    Training,
    draw_chances,
    judge,
    list_arms,
    main_share,
    summarize_trainings,
)

PEOPLE = [f"P{number}" for number in range(12)]


def training(arm, subjects, seed, shift=0.0, spread=0.0):
    rng = np.random.default_rng([seed, subjects])
    easy = np.linspace(0.3, 0.9, len(PEOPLE))  # some are harder than others
    values = easy + shift + spread * rng.standard_normal(len(PEOPLE))
    return Training(arm, subjects, seed, dict(zip(PEOPLE, values.tolist(), strict=True)))


def summarize(trainings, shares=(0.5,), thresholds=None):
    arms = list_arms(shares)
    return summarize_trainings(trainings, thresholds or {}, arms, main_share(shares))


def row(summary, arm, subjects):
    return next(r for r in summary["rows"] if (r["arm"], r["subjects"]) == (arm, subjects))


MIXED, BOTH = "real + 50% synthetic", "usual changes + 50% synthetic"


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ([0.001, 0.2], "helps"),
        ([0.001, 0.02], "makes no difference"),
        ([0.021, 0.022], "helps"),
        ([-0.2, -0.001], "harms"),
        ([-0.02, -0.001], "makes no difference"),
        ([-0.02, 0.02], "makes no difference"),
        ([-0.02, 0.021], "is not decided"),
        ([-0.3, 0.01], "is not decided"),
        (None, "is not decided"),
    ],
)
def test_the_verdict_follows_from_the_interval_alone(interval, verdict):
    assert judge({"mean": 0.0, "interval_95": interval}) == verdict


def test_arms_are_each_compared_with_what_they_are_without_synthetic_pairs():
    arms = {arm.name: arm for arm in list_arms([0.75, 0.25, 0.5])}
    assert list(arms) == [
        "real",
        "real, usual changes",
        "real + 25% synthetic",
        "real + 50% synthetic",
        "real + 75% synthetic",
        "usual changes + 50% synthetic",
        "synthetic only",
    ]
    baselines = {arm.baseline for name, arm in arms.items() if name not in ("real", BOTH)}
    assert baselines == {"real"}
    assert arms[BOTH].baseline == USUAL.name
    assert REAL.baseline is None
    assert [arm.name for arm in arms.values() if arm.augmented] == [USUAL.name, BOTH]
    assert SYNTHETIC.share == 1


def test_the_main_share_is_the_one_nearest_to_a_half():
    assert main_share([0.1, 0.6, 0.9]) == 0.6
    assert main_share([0.4, 0.6]) == 0.4


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_so_many_of_the_drawn_pairs_are_synthetic(share):
    chances = draw_chances(share, real=30, synthetic=7)
    assert chances.shape == (37,)
    assert chances.sum() == pytest.approx(1)
    assert chances[30:].sum() == pytest.approx(share)
    assert len(set(chances[:30])) == len(set(chances[30:])) == 1


def test_a_steady_gain_is_seen_in_spite_of_hard_and_easy_subjects():
    trainings = [
        training(arm, count, seed, shift, 0.01)
        for arm, shift in ((REAL.name, 0.0), (MIXED, 0.03), (USUAL.name, 0.05), (BOTH, 0.0))
        for count in (3, 6)
        for seed in (0, 1)
    ]
    summary = summarize(trainings)
    mixed = row(summary, MIXED, 3)
    assert mixed["verdict"] == "helps"
    assert mixed["difference"]["mean"] == pytest.approx(0.03, abs=1e-9)  # the same noise
    assert mixed["seeds"] == 2
    assert row(summary, REAL.name, 3)["difference"] is None
    assert row(summary, BOTH, 3)["verdict"] == "harms"
    apart = np.subtract(*(row(summary, MIXED, 3)["dice"]["interval_95"]))
    assert abs(apart) > 0.1, "the interval of Dice itself is wide"
    first, second, third = summary["comparisons"][:3]
    assert (first["arm"], first["baseline"], first["subjects"]) == (MIXED, "real", [3, 6])
    assert first["verdict"] == "helps"
    assert first["to"] - first["from"] == pytest.approx(0.03)
    assert (second["arm"], second["baseline"]) == (BOTH, USUAL.name)
    assert (third["arm"], third["verdict"]) == (USUAL.name, "helps")
    json.dumps(summary, allow_nan=False)


def test_the_interval_is_students_of_the_paired_differences_with_the_bootstrap_beside():
    ours = [training(MIXED, 3, seed, 0.02, 0.05) for seed in (0, 1)]
    base = [training("real", 3, seed + 7, 0.0, 0.05) for seed in (0, 1)]
    found = row(summarize(ours + base), MIXED, 3)["difference"]
    values = [
        np.mean([one.dice[p] for one in ours]) - np.mean([one.dice[p] for one in base])
        for p in PEOPLE
    ]
    paired = stats.ttest_1samp(values, 0).confidence_interval()
    np.testing.assert_allclose(found["interval_95"], paired, rtol=1e-9)
    other = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000)
    assert found["mean"] == pytest.approx(np.mean(values))
    np.testing.assert_allclose(found["bootstrap_95"], other.confidence_interval, atol=0.003)


def test_seeds_are_averaged_within_a_subject_and_their_spread_is_told():
    trainings = [training("real", 3, seed, shift) for seed, shift in ((0, 0.0), (1, 0.02))]
    found = row(summarize(trainings), "real", 3)
    assert found["dice"]["mean"] == pytest.approx(0.6 + 0.01)
    assert found["seed_spread"] == pytest.approx(0.02 / np.sqrt(2))
    assert row(summarize(trainings[:1]), "real", 3)["seed_spread"] is None


def test_what_is_not_there_yet_is_left_out():
    summary = summarize(
        [training("real", 3, 0), training("real", 6, 0), training(MIXED, 6, 0, 0.1)]
    )
    assert [(r["arm"], r["subjects"]) for r in summary["rows"]] == [
        ("real", 3),
        ("real", 6),
        (MIXED, 6),
    ]
    assert [c["subjects"] for c in summary["comparisons"]] == [[6]]
    assert summarize([])["comparisons"] == []


def test_one_held_out_subject_decides_nothing():
    one = [Training(arm, 3, 0, {"Ann": value}) for arm, value in (("real", 0.5), (MIXED, 0.9))]
    (comparison,) = summarize(one)["comparisons"]
    assert comparison["difference"]["mean"] == pytest.approx(0.4)
    assert comparison["verdict"] == "is not decided"


def test_the_threshold_stands_beside():
    thresholds = {6: {"Ann": 0.4, "Bob": 0.6}, 3: {"Ann": 0.2, "Bob": 0.4}}
    summary = summarize([training("real", 3, 0)], thresholds=thresholds)
    assert list(summary["threshold"]) == ["3", "6"]
    assert summary["threshold"]["3"]["mean"] == pytest.approx(0.3)


def test_dice_is_that_of_a_subjects_slices_together():
    drawn, truth = np.zeros((2, 3, 4, 4), bool)
    truth[:2, :2] = True  # Ann: 16 of 32
    drawn[0, :2] = True
    truth[2, 0, 0] = True
    found = utility.score_dice(drawn, truth, ["Ann", "Ann", "Bob"], [1, 2, 1])
    assert found == {"Ann": pytest.approx(2 * 8 / (8 + 16)), "Bob": 0.0}

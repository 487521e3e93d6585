import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from brainsynth_jax.evaluation.segmentation import score_subjects
from brainsynth_jax.evaluation.threshold import (
    SIGMAS_PIXELS,
    THRESHOLDS,
    ThresholdBaseline,
    apply_threshold,
    tune_threshold,
)

SHAPE = (6, 33, 41)
SUBJECTS = ["p2", "p1", "p1", "p2", "p3", "p3"]


def make_scans(noise, seed=0):
    """Brains of about 0 with a square tumour of about 2 (p3 has none), dark -3 around."""
    rng = np.random.default_rng(seed)
    brain = np.zeros(SHAPE, bool)
    brain[:, 4:29, 5:36] = True
    truth = np.zeros(SHAPE, bool)
    truth[:4, 10:19, 12:22] = True
    brain_z = np.where(brain, np.where(truth, 2.0, 0.0), -3.0)
    brain_z += noise * rng.normal(size=SHAPE)
    return brain_z.astype(np.float32), brain, truth


def mean_dice(masks, truth):
    scores = score_subjects(masks, truth, SUBJECTS, range(6), np.ones((6, 3)))
    return np.mean([subject["dice"] for subject in scores.values()])


def test_noiseless_tumors_are_found_exactly():
    brain_z, brain, truth = make_scans(noise=0)
    best = tune_threshold(brain_z, brain, truth, SUBJECTS)
    assert best == ThresholdBaseline(sigma_pixels=0, threshold=0.05, tuned_dice=1.0)
    np.testing.assert_array_equal(apply_threshold(best, brain_z, brain), truth)


def test_tuned_dice_is_that_of_the_applied_baseline_and_the_best_of_all():
    brain_z, brain, truth = make_scans(noise=1.5)
    best = tune_threshold(brain_z, brain, truth, SUBJECTS)
    every = {
        (sigma, threshold): mean_dice(
            apply_threshold(ThresholdBaseline(sigma, threshold, 0), brain_z, brain), truth
        )
        for sigma in SIGMAS_PIXELS
        for threshold in THRESHOLDS.tolist()
    }
    assert best.tuned_dice == pytest.approx(max(every.values()), abs=1e-12)
    assert every[best.sigma_pixels, best.threshold] == pytest.approx(best.tuned_dice, abs=1e-12)
    # Such noise can't be thresholded away without smoothing.
    unsmoothed = max(value for (sigma, _), value in every.items() if sigma == 0)
    assert best.sigma_pixels > 0
    assert best.tuned_dice > unsmoothed + 0.1


def test_a_value_on_the_threshold_counts_as_tumor():
    brain_z = np.full((1, 2, 2), 0.9, np.float32)
    brain = np.array([[[True, True], [False, True]]])
    drawn = apply_threshold(ThresholdBaseline(0, 0.9, 1), brain_z, brain)
    np.testing.assert_array_equal(drawn, brain)
    assert tune_threshold(brain_z, brain, brain, ["a"]).tuned_dice == 1
    assert not apply_threshold(ThresholdBaseline(0, 0.95, 1), brain_z, brain).any()


def test_smoothing_stays_within_the_slice():
    brain_z = np.zeros((2, 15, 17), np.float32)
    brain_z[0, 7, 8] = 100
    brain = np.ones(brain_z.shape, bool)
    drawn = apply_threshold(ThresholdBaseline(2, 1.5, 0), brain_z, brain)
    np.testing.assert_array_equal(drawn[0], gaussian_filter(brain_z[0], 2) >= 1.5)
    assert drawn[0].sum() > 1
    assert not drawn[1].any()


def test_nothing_outside_the_brain_is_drawn():
    brain_z, brain, _ = make_scans(noise=0)
    drawn = apply_threshold(ThresholdBaseline(0, -5, 0), brain_z, brain)
    np.testing.assert_array_equal(drawn, brain)


def test_subjects_count_alike_whatever_their_size():
    # In "a", one slice of 0.3; in "b", eight slices of 0.6 with false light of 0.4 beside it. By
    # pixels a high threshold would win, by subjects neither may be given up.
    brain = np.ones((9, 10, 10), bool)
    truth = np.zeros_like(brain)
    truth[:, :5] = True
    brain_z = np.zeros(brain.shape, np.float32)
    brain_z[0, :5] = 0.3
    brain_z[1:, :5] = 0.6
    brain_z[1:, 5] = 0.4
    best = tune_threshold(brain_z, brain, truth, ["a"] + ["b"] * 8)
    assert best.sigma_pixels == 0
    assert best.threshold <= 0.3
    assert best.tuned_dice == pytest.approx((1 + 2 * 50 / (50 + 60)) / 2)

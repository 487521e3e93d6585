"""The baseline every learned segmentation has to beat: one threshold on the smoothed scan.

On FLAIR it outdoes several published anomaly segmenters (Meissen et al. 2021, arXiv 2109.06023).
`brain_z` is the scan in standard deviations above the median of its subject's brain, so that one
threshold means the same in every subject.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

SIGMAS_PIXELS = (0, 1, 2, 3, 4)
THRESHOLDS = np.round(np.arange(-1, 5, 0.05), 2)


class ThresholdBaseline(NamedTuple):
    """Tumour is where the brain, smoothed by `sigma_pixels`, reaches `threshold`."""

    sigma_pixels: int  # standard deviation of the in-plane Gaussian
    threshold: float  # standard deviations above the brain's median
    tuned_dice: float  # mean over the subjects that it was tuned on


def tune_threshold(
    brain_z: np.ndarray, brain: np.ndarray, truth: np.ndarray, subjects: Sequence[str]
) -> ThresholdBaseline:
    """The smoothing in SIGMAS_PIXELS and threshold in THRESHOLDS with the best mean Dice.

    `brain_z` (N, H, W) float32, `brain` and `truth` (N, H, W) bool, `subjects` (N,) names. Dice is
    of whole subjects, averaged over subjects, as in `segmentation.score_subjects`. Call it with
    training subjects only. Of equally good settings the least smoothed and lowest wins.
    """
    names, owners = np.unique(np.asarray(subjects), return_inverse=True)
    tumor = _sum_by_subject(np.count_nonzero(truth, axis=(1, 2)), owners, len(names))
    best = ThresholdBaseline(SIGMAS_PIXELS[0], float(THRESHOLDS[0]), -1.0)
    for sigma in SIGMAS_PIXELS:
        drawn, hit = np.stack(
            [
                _count_above(_smooth(z, sigma)[inside], true[inside])
                for z, inside, true in zip(brain_z, brain, truth, strict=True)
            ],
            axis=1,
        )
        drawn = _sum_by_subject(drawn, owners, len(names))
        hit = _sum_by_subject(hit, owners, len(names))
        total = drawn + tumor[:, None]
        dice = np.where(total == 0, 1.0, 2 * hit / np.maximum(total, 1)).mean(axis=0)
        k = int(dice.argmax())
        if dice[k] > best.tuned_dice:
            best = ThresholdBaseline(sigma, float(THRESHOLDS[k]), float(dice[k]))
    return best


def apply_threshold(
    baseline: ThresholdBaseline, brain_z: np.ndarray, brain: np.ndarray
) -> np.ndarray:
    """The baseline's tumour masks, (N, H, W) bool, of `brain_z` float32 and `brain` bool."""
    threshold = np.float32(baseline.threshold)
    return np.stack(
        [
            (_smooth(z, baseline.sigma_pixels) >= threshold) & inside
            for z, inside in zip(brain_z, brain, strict=True)
        ]
    )


def _smooth(brain_z: np.ndarray, sigma: float) -> np.ndarray:
    """Smooths one slice (H, W) with its surroundings.

    The dark outside dims the brain's rim, where cortex is often as bright as tumour: on 15 subjects
    of BraTS 2021 that is worth 0.01 to 0.03 Dice over smoothing within the brain alone.
    """
    return gaussian_filter(brain_z, sigma)


def _count_above(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many pixels reach each of THRESHOLDS, and how many of these are tumour: both (K,)."""
    reached = np.searchsorted(THRESHOLDS.astype(np.float32), values, side="right")
    bins = len(THRESHOLDS) + 1
    healthy, tumor = np.bincount(reached + bins * truth, minlength=2 * bins).reshape(2, bins)
    # A value that reaches k thresholds reaches the first k of them.
    at_least = np.cumsum(np.stack([healthy + tumor, tumor])[:, :0:-1], axis=1)[:, ::-1]
    return at_least[0], at_least[1]


def _sum_by_subject(counts: np.ndarray, owners: np.ndarray, subjects: int) -> np.ndarray:
    sums = np.zeros((subjects, *counts.shape[1:]), np.int64)
    np.add.at(sums, owners, counts)
    return sums

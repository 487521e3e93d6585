"""Where the brain is, and how its intensities become values in [-1, 1] and back.

Scanner units mean nothing by themselves and differ from scan to scan, so each scan is scaled by
statistics of its own brain. Background is -1 exactly, whatever the scaling.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from brainsynth_jax.errors import UserError

INTENSITIES = ("median", "percentiles")

# A lone 32767 in BraTS2021_01482 shows why neither the range nor the deviation may follow the
# extremes.
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5

# 'median' spans this many standard deviations on either side of the brain's median. In 15 BraTS
# 2021 subjects 1.5 % of a FLAIR tumour's voxels lie beyond 4 (10 % in the worst subject); beyond 3
# it is 10 % (37 %), and with 5 grey and white matter come too close to be told apart.
MEDIAN_SPAN_STD = 4.0

# Skull-stripped scans are exactly zero along the picture's edge; scans with the head on have
# noise there (zero in 0.84 of it in 8-bit pictures).
STRIPPED_EDGE_ZEROS = 0.9


class BrainStatistics(NamedTuple):
    """The brain's intensities in scanner units, robust to single outliers."""

    median: float
    std: float  # of the intensities clipped to [low, high]
    low: float  # the LOW_PERCENT percentile
    high: float  # the HIGH_PERCENT percentile


class IntensityScale(NamedTuple):
    """scanner units = offset + scale * value, with value in [-1, 1]."""

    offset: float
    scale: float


def find_brain(image: np.ndarray) -> np.ndarray:
    """Tells brain from background.

    Args:
      image: (Z, H, W), scanner units. Skull-stripped (an exactly zero background) or not; with
        the head still on, the whole head counts as brain.

    Returns:
      (Z, H, W) bool, holes filled slice by slice.
    """
    edge = np.concatenate([image[:, [0, -1]].ravel(), image[:, :, [0, -1]].ravel()])
    stripped = np.mean(edge == 0) >= STRIPPED_EDGE_ZEROS
    foreground = image != 0 if stripped else image > otsu_threshold(image)
    return np.stack([ndimage.binary_fill_holes(one) for one in foreground])


def otsu_threshold(image: np.ndarray) -> float:
    """The threshold that best parts the values in two classes (Otsu 1979), in scanner units."""
    counts, edges = np.histogram(image, bins=256)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centers)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    best = np.argmax(below.astype(float) * above * (mean_above - mean_below) ** 2)
    return float(edges[best + 1])


def measure_brain(image: np.ndarray, brain: np.ndarray) -> BrainStatistics:
    """Measures the intensities of the voxels in `brain`.

    Args:
      image: scanner units, any shape.
      brain: bool, the same shape.

    Raises:
      UserError: no brain, or the same intensity all over it.
    """
    values = image[brain]
    if not values.size:
        raise UserError("no brain was found: the image is empty.")
    low, median, high = np.percentile(values, [LOW_PERCENT, 50, HIGH_PERCENT])
    std = np.clip(values, low, high).std(dtype=np.float64)
    if std == 0:
        raise UserError(f"the brain has the same intensity, {median:g}, all over.")
    return BrainStatistics(float(median), float(std), float(low), float(high))


def choose_scale(brain: BrainStatistics, intensity: str) -> IntensityScale:
    """The scale of one of INTENSITIES.

    'median' takes the brain's median to 0 and MEDIAN_SPAN_STD standard deviations above it to 1;
    'percentiles' takes the low percentile to -1 and the high one to 1.
    """
    if intensity == "median":
        return IntensityScale(brain.median, MEDIAN_SPAN_STD * brain.std)
    return IntensityScale((brain.low + brain.high) / 2, (brain.high - brain.low) / 2)


def to_values(image: np.ndarray, brain: np.ndarray, scale: IntensityScale) -> np.ndarray:
    """Scanner units -> float32 values in [-1, 1], clipped; -1 outside `brain`."""
    values = np.clip((image - scale.offset) / scale.scale, -1, 1)
    return np.where(brain, values, -1).astype(np.float32)


def to_scanner_units(values: np.ndarray, scale: IntensityScale) -> np.ndarray:
    """Values in [-1, 1] -> scanner units; undoes `to_values` inside the brain but for clipping."""
    return scale.offset + scale.scale * values

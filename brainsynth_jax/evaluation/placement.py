"""Is the tumour of a synthetic slice where the mask says that it was drawn from?

Nobody has outlined tumours in synthetic slices, so they are looked for by the simplest method that
finds real ones: one threshold, tuned on real training slices. It is far from perfect on real
slices; so its agreement with the masks of real held-out slices stands beside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from brainsynth_jax.data.masks import is_tumor
from brainsynth_jax.evaluation.bootstrap import summarize
from brainsynth_jax.evaluation.segmentation import dice
from brainsynth_jax.evaluation.threshold import apply_threshold, tune_threshold

# What is brighter is brain: this is 3.6 standard deviations below its median. The mask's own brain
# can't be taken, for where masks show the bare tumour, a generator never sees it.
_LEAST_BRAIN = -0.9
_LEAST_SPREAD = 1e-3


class LabelledSlices(NamedTuple):
    """Slices, their masks, and whose these are.

    Attributes:
        images: (N, S, S, 1) in [-1, 1].
        tissue: (N, S, S), codes of `data.masks`: what is in the slice, or should be.
        subjects: N names; of a synthetic slice, the subject whose mask was changed for it.
    """

    images: np.ndarray
    tissue: np.ndarray
    subjects: Sequence[str]


def score_placement(
    synthetic: LabelledSlices, training: LabelledSlices, heldout: LabelledSlices, seed: int
) -> dict:
    """How well the tumours that a threshold sees agree with the masks, synthetic beside real.

    Each slice's brightness is taken relative to its own brain, since a synthetic slice has no scan
    that it could be standardised by. Slices without tumour do not count.

    Args:
        synthetic: slices drawn from changed masks.
        training: real slices, by which the threshold is tuned.
        heldout: real slices of other subjects.
        seed: of the bootstraps.

    Returns:
        JSON-safe: `synthetic` and `real`, mean over subjects of the mean Dice of their slices, as
        `bootstrap.summarize`; `threshold` (standard deviations above the median of the slice's
        brain) and `sigma_pixels`.
    """
    baseline = tune_threshold(
        standardise_slices(training.images[..., 0]),
        _find_brain(training.images[..., 0]),
        is_tumor(training.tissue),
        training.subjects,
    )

    def score(slices: LabelledSlices) -> dict:
        images = slices.images[..., 0]
        drawn = apply_threshold(baseline, standardise_slices(images), _find_brain(images))
        by_subject: dict[str, list[float]] = {}
        truths = is_tumor(slices.tissue)
        for ours, true, subject in zip(drawn, truths, slices.subjects, strict=True):
            if true.any():
                by_subject.setdefault(subject, []).append(dice(ours, true))
        return summarize([float(np.mean(values)) for values in by_subject.values()], seed)

    return {
        "synthetic": score(synthetic),
        "real": score(heldout),
        "threshold": baseline.threshold,
        "sigma_pixels": baseline.sigma_pixels,
    }


def standardise_slices(images: np.ndarray) -> np.ndarray:
    """(image - median of its brain) / standard deviation of its brain, slice by slice.

    Args:
        images: (N, H, W) in [-1, 1]. A slice without brain becomes 0.

    Returns:
        (N, H, W) float32.
    """
    standardised = np.zeros(images.shape, np.float32)
    for out, image, inside in zip(standardised, images, _find_brain(images), strict=True):
        if inside.any():
            values = image[inside]
            out[...] = (image - np.median(values)) / max(values.std(), _LEAST_SPREAD)
    return standardised


def _find_brain(images: np.ndarray) -> np.ndarray:
    return images > _LEAST_BRAIN

"""Whether samples repeat training images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from brainsynth_jax.models.resize import area_average

# Coarse enough that noise and a shift by a pixel of the full image do not hide a copy.
COMPARED_SIZE = 32

# With fewer images on a side nothing is said.
LEAST_IMAGES = 8

SUMMARY = (
    "median",
    "percentile_5",
    "heldout_median",
    "heldout_percentile_5",
    "median_ratio",
    "percentile_5_ratio",
    "near",
    "near_share",
    "suspicious",
    "suspicious_share",
    "copied",
)

_NEAR_QUANTILE = 0.01
_SUSPICIOUS_FRACTION = 0.75
_ALARMING_SHARE = 0.01
_SAMPLES_A_CALL = 256


class Nearest(NamedTuple):
    """For each of N images the reference most like it.

    Attributes:
        distances: (N,) float64, root-mean-square difference per pixel, 0 to 2.
        indices: (N,) int, which reference.
    """

    distances: np.ndarray
    indices: np.ndarray


def coarsen(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 1) -> (N, 32, 32, 1) float32, averaged: all that `nearest_distances` looks at."""
    return np.asarray(area_average(images, COMPARED_SIZE), np.float32)


def nearest_distances(images: np.ndarray, references: np.ndarray) -> Nearest:
    """The nearest reference of every image, in either orientation.

    Both are averaged to 32 x 32 pixels; a reference counts as it is or flipped left to right,
    whichever is nearer.

    Args:
        images: (N, S, S, 1) in [-1, 1].
        references: (M, S, S, 1) in [-1, 1].

    Raises:
        ValueError: no image or no reference, or different sizes.
    """
    if 0 in (len(images), len(references)) or images.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"Images of one size are needed, got {images.shape} and {references.shape}."
        )
    images, references = _coarse(images), _coarse(references)
    both = np.concatenate([references, references[:, :, ::-1]]).reshape(2 * len(references), -1)
    images = images.reshape(len(images), -1)
    lengths = np.square(both).sum(axis=1)
    nearest = np.concatenate(
        [
            (lengths - 2 * part @ both.T).argmin(axis=1)
            for part in np.array_split(images, -(-len(images) // _SAMPLES_A_CALL))
        ]
    )
    # From the difference itself: the products above round, and a copy is to be at 0.
    distances = np.sqrt(np.square(images - both[nearest]).mean(axis=1))
    return Nearest(distances, nearest % len(references))


def summarize_copies(
    samples: np.ndarray, heldout: np.ndarray, heldout_subjects: Sequence[str]
) -> dict:
    """Are samples nearer to training images than slices of fresh patients are?

    Nearness is judged by held-out subjects: `near` is the distance than which 99 % of the slices
    of every held-out subject are further from their nearest training image. It is the lowest of the
    subjects' 1st percentiles, not that of all slices together, because slices of one subject are
    alike, and the next subject may be nearer to the training subjects as a whole. About 1 % of
    fresh images fall below it; up to 10 % of those of an unlucky subject, or of blurred images,
    which are nearer to everything. A sample is therefore *suspicious* only below 3/4 of `near`,
    where fresh slices of the BraTS subjects do not come, blurred or not, but where copies with
    blur, noise or a shift by a pixel are. The set is called copied if more than 1 % are.

    Args:
        samples: (N,) distances of samples to their nearest training image.
        heldout: (M,) the same of slices of subjects that nothing was trained on.
        heldout_subjects: M names.

    Returns:
        `median` and `percentile_5` of the samples, `heldout_median` and `heldout_percentile_5`
        (distances, 0 to 2), `median_ratio` and `percentile_5_ratio` (samples by held-out; None if
        that is 0), `near` and `suspicious` (distances), `near_share` and `suspicious_share` (of
        samples below them, 0 to 1), `copied` (bool), and the numbers `samples` and `heldout`. With
        fewer than 8 images on a side all but these two are None. JSON-safe.
    """
    summary = dict.fromkeys(SUMMARY)
    if min(len(samples), len(heldout)) >= LEAST_IMAGES:
        subjects = np.asarray(heldout_subjects)
        near = min(
            float(np.quantile(heldout[subjects == name], _NEAR_QUANTILE))
            for name in np.unique(subjects)
        )
        suspicious = _SUSPICIOUS_FRACTION * near
        suspicious_share = float(np.mean(samples < suspicious))
        for name, rank in (("median", 50), ("percentile_5", 5)):
            ours, theirs = float(np.percentile(samples, rank)), float(np.percentile(heldout, rank))
            ratio = ours / theirs if theirs > 0 else None
            summary |= {name: ours, f"heldout_{name}": theirs, f"{name}_ratio": ratio}
        summary |= {
            "near": near,
            "near_share": float(np.mean(samples < near)),
            "suspicious": suspicious,
            "suspicious_share": suspicious_share,
            "copied": suspicious_share > _ALARMING_SHARE,
        }
    return {**summary, "samples": len(samples), "heldout": len(heldout)}


def _coarse(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 1) -> (N, 32, 32) float64."""
    return coarsen(images).astype(np.float64)[..., 0]

"""Whether samples repeat training images.

How near to a training slice is too near is told by the slices of held-out patients, which copy
nobody.

A distance is a root mean square: of pixels in [-1, 1], 0 to 2; of features, in their own units.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from brainsynth_jax.evaluation.neighbours import (
    MOVES,
    Nearest,
    Neighbours,
    Slices,
    nearest_features,
)

# With fewer images on a side nothing is said. Nor with one held-out subject, which may be unlike
# the next: by it up to 8 % of sets of fresh BraTS slices would be called copied.
LEAST_IMAGES = 8
LEAST_SUBJECTS = 2

VERDICTS = ("fresh", "near", "suspicious")

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
)

_NEAR_QUANTILE = 0.01
_SUSPICIOUS_FRACTION = 0.6
_ALARMING_SHARE = 0.01


class Limits(NamedTuple):
    """Distances below which an image is near a training slice, and suspiciously near."""

    near: float
    suspicious: float


def find_limits(heldout: np.ndarray, heldout_subjects: Sequence[str]) -> Limits | None:
    """How near is too near, by slices that copy nobody.

    `near` is the distance than which 99 % of the slices of every held-out subject are further from
    their nearest training slice. It is the lowest of the subjects' 1st percentiles, not that of all
    slices together, because slices of one subject are alike, and the next subject may be nearer to
    the training subjects as a whole. Even so 3 to 13 % of the slices of fresh BraTS subjects fall
    below it, with three or two subjects held out, and two to three times as many if they are
    blurred, which brings them near to everything.

    An image is therefore *suspicious* only below 0.6 of it. In 1,200 divisions of 15 subjects, with
    three held out, no slice of a fresh subject came there, and of blurred ones at most one in
    30,000; but every copy did, by its pixels, that was mirrored, moved by up to 8 pixels of 256,
    blurred (standard deviation 2 pixels) or noisy (0.1). A brightness changed by a tenth may hide
    one.

    Args:
        heldout: (M,) distances to the nearest training slice.
        heldout_subjects: M names.

    Returns:
        None with fewer than 8 slices or 2 subjects, and where `near` is 0: held-out slices that
        are training slices are no yardstick.
    """
    subjects = np.asarray(heldout_subjects)
    names = np.unique(subjects)
    if len(heldout) < LEAST_IMAGES or len(names) < LEAST_SUBJECTS:
        return None
    near = min(float(np.quantile(heldout[subjects == name], _NEAR_QUANTILE)) for name in names)
    return Limits(near, _SUSPICIOUS_FRACTION * near) if near > 0 else None


def judge_images(
    samples: Neighbours,
    subjects: Sequence[str],
    heldout: Neighbours | None,
    heldout_subjects: Sequence[str],
) -> list[dict]:
    """One row an image, for a table or to choose by: is it a copy, and of whom?

    In either space an image is "suspicious" or "near" below the limits that held-out slices set
    there (`find_limits`), and else "fresh". Together the worse of the two counts: a space is blind
    to some copies, and fresh slices are suspicious in neither.

    Args:
        samples: of the N images.
        subjects: names of the training slices.
        heldout: of held-out slices; None where there are none.
        heldout_subjects: their names.

    Returns:
        N dicts of `sample` (its number), `verdict` (one of `VERDICTS`; None without limits), of
        either space, `image` and `feature`, `_verdict`, `_distance`, `_index` and `_subject`, of
        the nearest training slice, and how the one nearest by pixels lies over the image,
        `mirrored`, `down` and `right` (`Move`). JSON-safe.
    """
    rows = [{"sample": number, "verdict": None} for number in range(len(samples.image.distances))]
    for space in Neighbours._fields:
        nearest = getattr(samples, space)
        limits = heldout and find_limits(getattr(heldout, space).distances, heldout_subjects)
        for row, distance, index in zip(rows, nearest.distances, nearest.indices, strict=True):
            row |= {
                f"{space}_verdict": _judge(distance, limits),
                f"{space}_distance": float(distance),
                f"{space}_index": int(index),
                f"{space}_subject": str(subjects[index]),
            }
    for row, move in zip(rows, samples.image.moves, strict=True):
        row |= MOVES[move]._asdict()
        verdicts = row["image_verdict"], row["feature_verdict"]
        row["verdict"] = None if None in verdicts else max(verdicts, key=VERDICTS.index)
    return rows


def summarize_distances(
    samples: np.ndarray, heldout: np.ndarray, heldout_subjects: Sequence[str]
) -> dict:
    """Are samples nearer to training slices than slices of fresh patients are, in one space?

    Args:
        samples: (N,) distances of samples to their nearest training slice.
        heldout: (M,) the same of slices of subjects that nothing was trained on.
        heldout_subjects: M names.

    Returns:
        `median` and `percentile_5` of the samples, `heldout_median` and `heldout_percentile_5`,
        `median_ratio` and `percentile_5_ratio` (samples by held-out; None if that is 0), `near` and
        `suspicious` (`find_limits`), `near_share` and `suspicious_share` (of samples below them, 0
        to 1). All are None with fewer than 8 images on a side, the last four also without limits.
        JSON-safe.
    """
    summary = dict.fromkeys(SUMMARY)
    if min(len(samples), len(heldout)) < LEAST_IMAGES:
        return summary
    for name, rank in (("median", 50), ("percentile_5", 5)):
        ours, theirs = float(np.percentile(samples, rank)), float(np.percentile(heldout, rank))
        ratio = ours / theirs if theirs > 0 else None
        summary |= {name: ours, f"heldout_{name}": theirs, f"{name}_ratio": ratio}
    limits = find_limits(heldout, heldout_subjects)
    for name, limit in limits._asdict().items() if limits else ():
        summary |= {name: limit, f"{name}_share": float(np.mean(samples < limit))}
    return summary


def summarize_copies(
    samples: Neighbours, heldout: Neighbours, heldout_subjects: Sequence[str], training: Slices
) -> dict:
    """Does a set of samples copy training slices?

    Args:
        samples: of N samples.
        heldout: of M held-out slices.
        heldout_subjects: M names.
        training: T slices.

    Returns:
        What `summarize_distances` says of pixels; `features`, the same of features; `verdicts`, how
        many samples are fresh, near and suspicious in both spaces together (`judge_images`);
        `copied`, whether more than 1 % are suspicious; `authenticity`, shares of `samples` and of
        `heldout` slices (`authentic_share`); the numbers `samples`, `heldout`, `heldout_subjects`
        and `training`. What there are too few images or subjects for is None. JSON-safe.
    """
    pixels, features = (
        summarize_distances(ours.distances, theirs.distances, heldout_subjects)
        for ours, theirs in zip(samples, heldout, strict=True)
    )
    number = len(samples.image.distances)
    verdicts = None
    if None not in (pixels["near"], features["near"]):
        rows = judge_images(samples, training.subjects, heldout, heldout_subjects)
        found = Counter(row["verdict"] for row in rows)
        verdicts = {verdict: found[verdict] for verdict in VERDICTS}
    return {
        **pixels,
        "features": features,
        "verdicts": verdicts,
        "copied": verdicts and verdicts["suspicious"] > _ALARMING_SHARE * number,
        "authenticity": {
            "samples": authentic_share(samples.feature, training.features, training.subjects),
            "heldout": authentic_share(heldout.feature, training.features, training.subjects),
        },
        "samples": number,
        "heldout": len(heldout.image.distances),
        "heldout_subjects": len(set(heldout_subjects)),
        "training": len(training.subjects),
    }


def authentic_share(
    nearest: Nearest, references: np.ndarray, subjects: Sequence[str]
) -> float | None:
    """The share of images that lie further from real slices than these from each other.

    Authenticity of Alaa et al., 2022 (arXiv 2102.08921): an image counts if its distance to the
    nearest reference is more than that reference's own to the reference nearest to it. Here the
    latter is one of another subject. Neighbouring slices of a subject are nearly the same, and by
    them hardly an image would be found to be copied.

    Copies are at 0. About half of fresh slices of BraTS are authentic, but nearly none or nearly
    all of some subjects: read it beside the share of held-out slices, which is what a generator
    would get that copies nobody. Anything odd is authentic as well, such as noise.

    Args:
        nearest: of N images, by `nearest_features`.
        references: (M, D) features.
        subjects: M names.

    Returns:
        0 to 1; None with fewer than 8 images or 2 subjects.
    """
    subjects, indices = np.asarray(subjects), nearest.indices
    if len(indices) < LEAST_IMAGES or len(set(subjects.tolist())) < LEAST_SUBJECTS:
        return None
    spacing = np.empty(len(references))
    for name in np.unique(subjects[indices]):
        own = subjects == name
        found = np.intersect1d(indices, np.flatnonzero(own))
        spacing[found] = nearest_features(references[found], references[~own]).distances
    return float(np.mean(nearest.distances > spacing[indices]))


def _judge(distance: float, limits: Limits | None) -> str | None:
    if limits is None:
        return None
    return VERDICTS[int(distance < limits.near) + int(distance < limits.suspicious)]

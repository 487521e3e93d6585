"""How well a drawn tumour mask agrees with the true one.

Masks are boolean, True where there is whole tumour. Subjects are the unit of evidence: all slices
of a subject are scored together as one volume, and means and intervals run over subjects.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from brainsynth_jax.evaluation.bootstrap import summarize

METRICS = ("dice", "sensitivity", "precision", "hausdorff_95_mm", "centroid_error_mm")

# The four neighbours within a slice: slices apart from each other share no boundary.
_IN_PLANE_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)


class SubjectMasks(NamedTuple):
    """All slices of one subject, by slice number.

    Attributes:
        prediction: (Z, H, W) bool, as drawn.
        truth: (Z, H, W) bool.
        slice_numbers: (Z,) int, ascending.
        spacing_mm: (Z, 3), between slices, rows, columns; NaN where unknown.
    """

    prediction: np.ndarray
    truth: np.ndarray
    slice_numbers: np.ndarray
    spacing_mm: np.ndarray


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """2 |P and T| / (|P| + |T|), 0 to 1, of two boolean masks of one shape (Dice 1945).

    Both empty: 1, there was nothing to find and nothing was found. One empty: 0.
    """
    _check_masks(prediction, truth)
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(prediction & truth) / total if total else 1.0


def sensitivity(prediction: np.ndarray, truth: np.ndarray) -> float:
    """|P and T| / |T|, 0 to 1: the share of the true tumour that was found. NaN if T is empty."""
    _check_masks(prediction, truth)
    tumor = np.count_nonzero(truth)
    return np.count_nonzero(prediction & truth) / tumor if tumor else float("nan")


def precision(prediction: np.ndarray, truth: np.ndarray) -> float:
    """|P and T| / |P|, 0 to 1: the share of what was drawn that is tumour. NaN if P is empty."""
    _check_masks(prediction, truth)
    drawn = np.count_nonzero(prediction)
    return np.count_nonzero(prediction & truth) / drawn if drawn else float("nan")


def hausdorff_95_mm(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Sequence[float] | np.ndarray,
    slice_numbers: Sequence[int] | np.ndarray,
) -> float:
    """Distance in mm within which 95 % of either mask's outline has the other's outline.

    `prediction` and `truth` (Z, H, W) are slices of one subject, `slice_numbers` (Z,) their places
    in the volume, `spacing_mm` (3,) or (Z, 3) the steps between slices, rows and columns. The
    outline is every mask pixel with a 4-neighbour outside the mask or at the picture's edge, taken
    slice by slice and placed in space, so slices may be missing in between. The larger of the two
    directed 95th percentiles is returned, as in MONAI's `compute_hausdorff_distance` and DeepMind's
    `surface-distance`; medpy's `hd95` pools the two directions, which lets the better one hide the
    worse.

    NaN where either mask is empty or a spacing is unknown (NaN).
    """
    _check_masks(prediction, truth)
    if not _have_places(prediction, truth, spacing_mm):
        return float("nan")
    drawn = _places_mm(_outline(prediction), spacing_mm, slice_numbers)
    true = _places_mm(_outline(truth), spacing_mm, slice_numbers)
    to_true, _ = cKDTree(true).query(drawn)
    to_drawn, _ = cKDTree(drawn).query(true)
    return float(max(np.percentile(to_true, 95), np.percentile(to_drawn, 95)))


def centroid_error_mm(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Sequence[float] | np.ndarray,
    slice_numbers: Sequence[int] | np.ndarray,
) -> float:
    """Distance in mm between the centroids of the drawn and of the true tumour.

    Arguments are those of `hausdorff_95_mm`. A centroid is the mean place of all mask pixels; of a
    single slice the distance is one in its plane.

    NaN where either mask is empty or a spacing is unknown (NaN).
    """
    _check_masks(prediction, truth)
    if not _have_places(prediction, truth, spacing_mm):
        return float("nan")
    drawn, true = (
        _places_mm(mask, spacing_mm, slice_numbers).mean(axis=0) for mask in (prediction, truth)
    )
    return float(np.linalg.norm(drawn - true))


def split_subjects(
    predictions: np.ndarray,
    truths: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
    spacing_mm: np.ndarray,
) -> dict[str, SubjectMasks]:
    """Sorts slices by subject, in name order, and within a subject by slice number.

    Args:
        predictions: (N, H, W) bool.
        truths: (N, H, W) bool.
        subjects: N names.
        slice_numbers: N places in the subject's volume.
        spacing_mm: (N, 3), between slices, rows, columns; NaN where unknown.

    Raises:
        ValueError: the arguments do not fit together, a spacing is not above 0, or a subject has
            two slices of one number.
    """
    _check_masks(predictions, truths)
    names, slice_numbers = np.asarray(subjects), np.asarray(slice_numbers)
    spacing_mm = np.asarray(spacing_mm, np.float64)
    count = len(names)
    shapes = predictions.shape[:-2], slice_numbers.shape, spacing_mm.shape
    if shapes != ((count,), (count,), (count, 3)):
        raise ValueError(
            "Masks (N, H, W) are needed, and for each slice a subject, a number and three "
            f"spacings, got {predictions.shape}, {count}, {slice_numbers.shape} and "
            f"{spacing_mm.shape}."
        )
    if (spacing_mm <= 0).any() or np.isinf(spacing_mm).any():
        raise ValueError(
            "Spacings above 0 mm are needed, or NaN where they are not known, got "
            f"{np.nanmin(spacing_mm):g} to {np.nanmax(spacing_mm):g}."
        )
    by_subject = {}
    for name in sorted(set(names.tolist())):
        rows = np.flatnonzero(names == name)
        rows = rows[np.argsort(slice_numbers[rows])]
        numbers = slice_numbers[rows]
        if (np.diff(numbers) == 0).any():
            raise ValueError(
                f"Slices of one subject need different numbers, got {numbers.tolist()} of {name}."
            )
        by_subject[name] = SubjectMasks(predictions[rows], truths[rows], numbers, spacing_mm[rows])
    return by_subject


def score_subjects(
    predictions: np.ndarray,
    truths: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
    spacing_mm: np.ndarray,
) -> dict[str, dict[str, float | int | None]]:
    """Scores each subject's slices as one volume.

    Arguments and errors are those of `split_subjects`. Returns, by subject in name order, every one
    of METRICS and `slices`, the number of slices. What is undefined is None, so that the result can
    be written as JSON.
    """
    split = split_subjects(predictions, truths, subjects, slice_numbers, spacing_mm)
    return {
        name: {**_score(masks), "slices": len(masks.slice_numbers)} for name, masks in split.items()
    }


def score_slices(
    predictions: np.ndarray,
    truths: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
    spacing_mm: np.ndarray,
) -> list[dict[str, str | float | int | None]]:
    """Scores each slice by itself, for a table: slices of one subject are no independent evidence.

    Arguments and errors are those of `split_subjects`. Returns a row a slice, by subject and slice
    number: `subject`, `slice_number` and every one of METRICS, None where it is undefined.
    """
    split = split_subjects(predictions, truths, subjects, slice_numbers, spacing_mm)
    return [
        {
            "subject": name,
            "slice_number": int(masks.slice_numbers[k]),
            **_score(SubjectMasks(*(values[k : k + 1] for values in masks))),
        }
        for name, masks in split.items()
        for k in range(len(masks.slice_numbers))
    ]


def summarize_subjects(
    scores: Mapping[str, Mapping[str, float | int | None]], seed: int
) -> dict[str, dict]:
    """Mean over subjects, 95 % bootstrap interval and counts, for each of METRICS.

    Each holds `mean`, `interval_95` ([low, high], None below two subjects), `subjects` (how many
    the mean is over) and `undefined` (how many were left out, for instance those with nothing
    drawn: a distance must be read together with this number). JSON-safe.
    """
    return {
        metric: summarize([subject[metric] for subject in scores.values()], seed)
        for metric in METRICS
    }


def summarize_difference(
    scores: Mapping[str, Mapping[str, float | int | None]],
    others: Mapping[str, Mapping[str, float | int | None]],
    seed: int,
    metric: str = "dice",
) -> dict:
    """The same summary of `scores` minus `others`, subject by subject.

    Pairing takes the difference between easy and hard subjects out of the interval, which two
    separate intervals can't. Only subjects in both count.
    """
    pairs = [(scores[name][metric], others[name][metric]) for name in scores if name in others]
    return summarize([None if None in pair else pair[0] - pair[1] for pair in pairs], seed)


def _score(masks: SubjectMasks) -> dict[str, float | None]:
    drawn, true, slice_numbers, spacing_mm = masks
    values = (
        dice(drawn, true),
        sensitivity(drawn, true),
        precision(drawn, true),
        hausdorff_95_mm(drawn, true, spacing_mm, slice_numbers),
        centroid_error_mm(drawn, true, spacing_mm, slice_numbers),
    )
    return {metric: _or_none(value) for metric, value in zip(METRICS, values, strict=True)}


def _have_places(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float] | np.ndarray
) -> bool:
    return prediction.any() and truth.any() and not np.isnan(spacing_mm).any()


def _outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask, _IN_PLANE_CROSS)


def _places_mm(
    mask: np.ndarray,
    spacing_mm: Sequence[float] | np.ndarray,
    slice_numbers: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """(K, 3) float64: where the K pixels of a mask (Z, H, W) lie in space."""
    place, row, column = np.nonzero(mask)
    in_volume = np.stack([np.asarray(slice_numbers)[place], row, column], axis=-1)
    return in_volume * np.broadcast_to(np.asarray(spacing_mm, np.float64), (len(mask), 3))[place]


def _check_masks(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.dtype != bool or truth.dtype != bool or prediction.shape != truth.shape:
        raise ValueError(
            "Two boolean masks of one shape are needed, got "
            f"{prediction.dtype} {prediction.shape} and {truth.dtype} {truth.shape}."
        )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

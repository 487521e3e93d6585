"""How well a drawn tumour mask agrees with the true one.

Masks are boolean, True where there is whole tumour. Subjects are the unit of evidence: all slices
of a subject are scored together as one volume, and means and intervals run over subjects.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from brainsynth_jax.evaluation.bootstrap import bootstrap_mean_interval

METRICS = ("dice", "sensitivity", "precision", "hausdorff_95_mm")

# The four neighbours within a slice: slices apart from each other share no boundary.
_IN_PLANE_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)


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
    spacing_mm = np.broadcast_to(np.asarray(spacing_mm, np.float64), (len(truth), 3))
    if np.isnan(spacing_mm).any() or not (prediction.any() and truth.any()):
        return float("nan")
    drawn = _outline_mm(prediction, spacing_mm, slice_numbers)
    true = _outline_mm(truth, spacing_mm, slice_numbers)
    to_true, _ = cKDTree(true).query(drawn)
    to_drawn, _ = cKDTree(drawn).query(true)
    return float(max(np.percentile(to_true, 95), np.percentile(to_drawn, 95)))


def score_subjects(
    predictions: np.ndarray,
    truths: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
    spacing_mm: np.ndarray,
) -> dict[str, dict[str, float | int | None]]:
    """Scores each subject's slices as one volume.

    `predictions` and `truths` are (N, H, W) bool, `subjects` (N,) names, `slice_numbers` (N,),
    `spacing_mm` (N, 3). Returns, by subject in name order, every one of METRICS and `slices`, the
    number of slices. What is undefined is None, so that the result can be written as JSON.
    """
    _check_masks(predictions, truths)
    names = np.asarray(subjects)
    slice_numbers, spacing_mm = np.asarray(slice_numbers), np.asarray(spacing_mm)
    scores = {}
    for name in sorted(set(names.tolist())):
        of_subject = names == name
        drawn, true = predictions[of_subject], truths[of_subject]
        values = (
            dice(drawn, true),
            sensitivity(drawn, true),
            precision(drawn, true),
            hausdorff_95_mm(drawn, true, spacing_mm[of_subject], slice_numbers[of_subject]),
        )
        scores[name] = {
            **{metric: _or_none(value) for metric, value in zip(METRICS, values, strict=True)},
            "slices": int(of_subject.sum()),
        }
    return scores


def summarize_subjects(
    scores: Mapping[str, Mapping[str, float | int | None]], seed: int
) -> dict[str, dict]:
    """Mean over subjects, 95 % bootstrap interval and counts, for each of METRICS.

    Each holds `mean`, `interval_95` ([low, high], None below two subjects), `subjects` (how many
    the mean is over) and `undefined` (how many were left out, for instance those with nothing
    drawn: a distance must be read together with this number). JSON-safe.
    """
    return {
        metric: _summary([subject[metric] for subject in scores.values()], seed)
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
    return _summary([None if None in pair else pair[0] - pair[1] for pair in pairs], seed)


def _summary(values: Sequence[float | None], seed: int) -> dict:
    defined = [value for value in values if value is not None]
    interval = bootstrap_mean_interval(defined, seed)
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "interval_95": list(interval) if interval else None,
        "subjects": len(defined),
        "undefined": len(values) - len(defined),
    }


def _outline_mm(
    mask: np.ndarray, spacing_mm: np.ndarray, slice_numbers: Sequence[int] | np.ndarray
) -> np.ndarray:
    outline = mask & ~binary_erosion(mask, _IN_PLANE_CROSS)
    place, row, column = np.nonzero(outline)
    in_volume = np.stack([np.asarray(slice_numbers)[place], row, column], axis=-1)
    return in_volume * spacing_mm[place]


def _check_masks(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.dtype != bool or truth.dtype != bool or prediction.shape != truth.shape:
        raise ValueError(
            "Two boolean masks of one shape are needed, got "
            f"{prediction.dtype} {prediction.shape} and {truth.dtype} {truth.shape}."
        )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

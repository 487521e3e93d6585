"""Which tumours were found, which were missed, and which were drawn where there are none.

Masks are boolean, True where there is whole tumour. A lesion is a connected part of a subject's
mask: voxels that share a face, an edge or a corner. Slices that are missing cut it, since nothing
is known there. Subjects are the unit of evidence, as in `segmentation`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label

from brainsynth_jax.evaluation.bootstrap import summarize
from brainsynth_jax.evaluation.segmentation import SubjectMasks, split_subjects

# What is smaller counts as a speck, not as a tumour. The true masks are full of them: of the 89
# connected parts in 15 subjects of BraTS 2021, 55 have fewer than 10 voxels and 63 fewer than 50.
LEAST_VOXELS = 10

# BraTS 2023 takes no true lesion up to 50 mm^3 into account, and a ball 10 mm across, the least
# that RANO measures (Wen et al. 2010), has 524 mm^3. From there on steps of ten.
SIZE_EDGES_MM3 = (50, 500, 5_000, 50_000)

RATES = ("sensitivity", "precision", "f1")

_NEIGHBOURS = np.ones((3, 3, 3), bool)


class LesionVolumes(NamedTuple):
    """Volumes in mm^3 of one subject's lesions, NaN where a spacing is unknown.

    Attributes:
        found: of the true lesions in which something is drawn.
        missed: of those in which nothing is.
        false: of the drawn lesions that touch no true tumour.
    """

    found: np.ndarray
    missed: np.ndarray
    false: np.ndarray


COUNTS = LesionVolumes._fields


def match_lesions(masks: SubjectMasks, least_voxels: int = LEAST_VOXELS) -> LesionVolumes:
    """Matches the drawn lesions of one subject with its true ones.

    A true lesion is found if a drawn one shares a voxel with it; a drawn lesion is false if it
    shares none with the true mask. One drawn lesion may find several true ones, and several find
    one. Lesions below `least_voxels` are left out on either side, so that specks neither find nor
    are to be found, and the truth compared with itself is without fault.

    But for the specks this is the rule of the ISLES 2022 challenge (arXiv 2403.19425). BraTS 2023
    first grows the true lesions by three voxels, which joins those that are near and forgives what
    is drawn beside them.
    """
    prediction, truth, *places = masks
    true, true_volumes = _components(truth, *places, least_voxels)
    drawn, drawn_volumes = _components(prediction, *places, least_voxels)
    found = np.isin(np.arange(len(true_volumes)) + 1, true[drawn > 0])
    real = np.isin(np.arange(len(drawn_volumes)) + 1, drawn[truth])
    return LesionVolumes(true_volumes[found], true_volumes[~found], drawn_volumes[~real])


def score_lesions(
    predictions: np.ndarray,
    truths: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
    spacing_mm: np.ndarray,
    least_voxels: int = LEAST_VOXELS,
) -> dict[str, dict]:
    """Counts each subject's lesions, by the rule of `match_lesions`.

    Args:
        predictions: this and the next four as in `segmentation.split_subjects`.
        truths: true masks.
        subjects: names.
        slice_numbers: lesions are joined over successive ones.
        spacing_mm: NaN where unknown.
        least_voxels: size of the smallest lesion that counts.

    Returns:
        By subject in name order: `found`, `missed` and `false`, numbers of lesions; `sensitivity`,
        found / (found + missed), None without true lesions; `precision`, found / (found + false),
        None without either; `f1`, 2 found / (2 found + missed + false), 1 if there was nothing to
        find and nothing drawn; `by_size`, the three numbers again for each range of volume
        (`from_mm3`, included, and `to_mm3`, None for no end), None where a spacing is unknown;
        `gaps`, at how many places slices are missing in between. Each may cut a lesion in two, so
        slices that were thinned out have more lesions, and smaller ones. JSON-safe.

    Raises:
        ValueError: as `segmentation.split_subjects`.
    """
    split = split_subjects(predictions, truths, subjects, slice_numbers, spacing_mm)
    return {name: _score(masks, least_voxels) for name, masks in split.items()}


def summarize_lesions(scores: Mapping[str, Mapping], seed: int) -> dict:
    """All subjects of `score_lesions` together.

    Returns `sensitivity`, `precision` and `f1`, each with mean over subjects, 95 % bootstrap
    interval and counts as in `segmentation.summarize_subjects`; `found`, `missed`, `false`, `gaps`
    and `by_size`, sums over subjects (`by_size` over those whose spacing is known, None if there
    are none). JSON-safe.
    """
    subjects = list(scores.values())
    by_size = [subject["by_size"] for subject in subjects if subject["by_size"] is not None]
    return {
        **{rate: summarize([subject[rate] for subject in subjects], seed) for rate in RATES},
        **_sum_counts(subjects),
        "gaps": sum(subject["gaps"] for subject in subjects),
        "by_size": [
            {**same_size[0], **_sum_counts(same_size)} for same_size in zip(*by_size, strict=True)
        ]
        or None,
    }


def score_empty_slices(
    predictions: np.ndarray,
    truths: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
    spacing_mm: np.ndarray,
    least_pixels: int = LEAST_VOXELS,
) -> dict[str, dict[str, float | int | None]]:
    """How much tumour is drawn into slices that have none.

    Args:
        predictions: this and the next four as in `segmentation.split_subjects`.
        truths: true masks.
        subjects: names.
        slice_numbers: places in the volume.
        spacing_mm: NaN where unknown.
        least_pixels: from how many drawn pixels on a slice counts as one with a tumour.

    Returns:
        By subject in name order: `empty_slices`, how many have no true tumour; of these
        `drawn_share`, the share with a drawn one, 0 to 1, and `drawn_area_mm2`, the mean area
        drawn, every pixel counted. None without such slices, the area also without their spacing.
        JSON-safe.

    Raises:
        ValueError: as `segmentation.split_subjects`.
    """
    scores = {}
    split = split_subjects(predictions, truths, subjects, slice_numbers, spacing_mm)
    for name, (prediction, truth, _, spacing) in split.items():
        empty = ~truth.any(axis=(1, 2))
        pixels = np.count_nonzero(prediction[empty], axis=(1, 2))
        areas = pixels * spacing[empty, 1:].prod(axis=1)
        known = empty.any() and not np.isnan(areas).any()
        scores[name] = {
            "empty_slices": len(pixels),
            "drawn_share": float((pixels >= least_pixels).mean()) if empty.any() else None,
            "drawn_area_mm2": float(areas.mean()) if known else None,
        }
    return scores


def summarize_empty_slices(
    scores: Mapping[str, Mapping[str, float | int | None]], seed: int
) -> dict:
    """All subjects of `score_empty_slices` together.

    Returns `empty_slices`, their number; `drawn_share` and `drawn_area_mm2`, each with mean over
    subjects, 95 % bootstrap interval and counts as in `segmentation.summarize_subjects`. JSON-safe.
    """
    subjects = list(scores.values())
    return {
        "empty_slices": sum(subject["empty_slices"] for subject in subjects),
        **{
            key: summarize([subject[key] for subject in subjects], seed)
            for key in ("drawn_share", "drawn_area_mm2")
        },
    }


def _components(
    mask: np.ndarray, slice_numbers: np.ndarray, spacing_mm: np.ndarray, least_voxels: int
) -> tuple[np.ndarray, np.ndarray]:
    """The lesions of a mask (Z, H, W): labels 1 to K of that shape, and (K,) volumes in mm^3."""
    # An empty slice at each gap keeps apart what lies on either side.
    places = np.arange(len(mask)) + np.cumsum(_follows_gap(slice_numbers))
    stack = np.zeros((places[-1] + 1, *mask.shape[1:]), bool)
    stack[places] = mask
    labels = label(stack, _NEIGHBOURS)[0][places]

    voxel_mm3 = spacing_mm.prod(axis=1)[np.nonzero(mask)[0]]
    volumes = np.bincount(labels[mask], voxel_mm3, minlength=1)
    large = np.bincount(labels[mask], minlength=1) >= least_voxels
    large[0] = False  # the background
    return (large * np.cumsum(large, dtype=labels.dtype))[labels], volumes[large]


def _follows_gap(slice_numbers: np.ndarray) -> np.ndarray:
    return np.diff(slice_numbers, prepend=slice_numbers[0]) > 1


def _score(masks: SubjectMasks, least_voxels: int) -> dict:
    volumes = match_lesions(masks, least_voxels)
    found, missed, false = (len(part) for part in volumes)
    everything = 2 * found + missed + false
    return {
        **dict(zip(COUNTS, (found, missed, false), strict=True)),
        "sensitivity": found / (found + missed) if found + missed else None,
        "precision": found / (found + false) if found + false else None,
        "f1": 2 * found / everything if everything else 1.0,
        "by_size": None if np.isnan(masks.spacing_mm).any() else _count_by_size(volumes),
        "gaps": int(np.count_nonzero(_follows_gap(masks.slice_numbers))),
    }


def _count_by_size(volumes: LesionVolumes) -> list[dict[str, int | None]]:
    edges = (0, *SIZE_EDGES_MM3, np.inf)
    counts = np.stack([np.histogram(part, edges)[0] for part in volumes], axis=1).tolist()
    return [
        {"from_mm3": low, "to_mm3": high, **dict(zip(COUNTS, row, strict=True))}
        for (low, high), row in zip(pairwise((*edges[:-1], None)), counts, strict=True)
    ]


def _sum_counts(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {count: sum(part[count] for part in parts) for count in COUNTS}

"""What can be measured of prepared slices without a network: where heads lie, what repeats.

`measure_part` reads each slice of one part of a dataset once; the other functions look at what it
kept. `hygiene` judges by it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.stats import mannwhitneyu

from brainsynth_jax.data.intensity import find_brain
from brainsynth_jax.data.masks import decode_tumor, is_brain, is_tumor
from brainsynth_jax.data.slices import Record

# All in shares of the picture's side, but the last, of its area.
HEAD = (
    "head's centre from the top",
    "head's centre from the left",
    "head's height",
    "head's width",
    "filled share",
)

# Coarse enough that noise and a shift by a pixel of the full slice do not hide a copy.
COMPARED_SIZE = 32

# A coarse picture with less in it shows next to nothing, and such pictures are all alike.
LEAST_SHOWN = 0.01
_SHOWN_LEVELS = 8

# Air gives next to no signal, here as a share of the brain's median.
AIR_SIGNAL = 0.05

# Up to such a p a difference is beyond chance: 1 % for all that HEAD names together.
SIGNIFICANCE = 0.01 / len(HEAD)

# JPEG rings by some grey levels around a head cut out on black.
_RINGING = 12

# A lone bright pixel in the background is no part of the head's box.
_STRAY = 0.01

# The brain in a mask drawn as `tumor_in_brain` is at 0, in [-1, 1]; JPEG may move it a little.
_MID_GREY = 0.1

_ROWS_A_CALL = 1024


class Part(NamedTuple):
    """What is kept of the N slices of one part of a dataset.

    Attributes:
      name: 'train', 'test', or a folder, 'trainA/'.
      patients: (N,) str, whom each shows.
      slices: (N,) str, what a person calls each.
      coarse: (N, 32, 32) uint8, averaged, in grey levels 0..255 as those below.
      constant: (N,) bool, one grey level all over.
      head: (N, 5) float of what HEAD names; NaN where nothing is shown, as in the next three.
      median: (N,) float, of the head's grey levels.
      spread: (N,) float, their interquartile range.
      clipped: (N,) float, share of the head at the brightest or at the darkest level, the larger.
      tumor: (N,) float, share of the picture; NaN where it is not known.
      outside: (N,) float, share of the tumour that gives no signal, as air and the background of
        skull-stripped scans; NaN without tumour or signal.
    """

    name: str
    patients: np.ndarray
    slices: np.ndarray
    coarse: np.ndarray
    constant: np.ndarray
    head: np.ndarray
    median: np.ndarray
    spread: np.ndarray
    clipped: np.ndarray
    tumor: np.ndarray
    outside: np.ndarray


class Comparison(NamedTuple):
    """Means of two groups, Cliff's delta (-1 to 1), two-sided p of Mann and Whitney's test."""

    mean: float
    other_mean: float
    delta: float
    p: float


def measure_part(
    name: str, records: Iterable[Record], kind: str, patients: Sequence[str] | None = None
) -> Part:
    """Reads records and keeps what is looked at.

    Args:
      name: of the part.
      records: N of them, of `slices`.
      kind: 'scan', with a tissue map; 'picture', without; or 'mask', the picture of one.
      patients: N names; None for the records' subjects.
    """
    rows = [_measure(record, kind) for record in records]
    columns = zip(*rows, strict=True) if rows else [()] * (len(Part._fields) - 1)
    subjects, slices, coarse, constant, head, *others = columns
    return Part(
        name,
        np.array(subjects if patients is None else patients, str),
        np.array(slices, str),
        np.array(coarse, np.uint8).reshape(-1, COMPARED_SIZE, COMPARED_SIZE),
        np.array(constant, bool),
        np.array(head, float).reshape(-1, len(HEAD)),
        *(np.array(column, float) for column in others),
    )


def join_parts(parts: Sequence[Part]) -> Part:
    """The slices of all of them as one part."""
    names, *columns = zip(*parts, strict=True)
    return Part(" and ".join(names), *map(np.concatenate, columns))


def nearest_of_others(part: Part, references: Part) -> tuple[np.ndarray, np.ndarray]:
    """For each of N slices the reference most like it, among those of other patients.

    Returns:
      (N,) int, which; and (N,) float, the correlation of their coarse pictures, the reference as it
      is or flipped left to right, whichever is higher. -1 where there is no other, and where one of
      the two shows next to nothing.
    """
    indices, correlations = np.zeros(len(part.slices), int), np.full(len(part.slices), -1.0)
    if not len(references.slices):
        return indices, correlations
    ours, theirs = _normalize(part.coarse), _normalize(references.coarse)
    mirrored = _normalize(references.coarse[:, :, ::-1])
    for start in range(0, len(ours), _ROWS_A_CALL):
        rows = slice(start, start + _ROWS_A_CALL)
        found = np.maximum(ours[rows] @ theirs.T, ours[rows] @ mirrored.T)
        compared = ours[rows].any(axis=1)[:, None] & theirs.any(axis=1)
        found[~compared | (part.patients[rows, None] == references.patients)] = -1
        indices[rows], correlations[rows] = found.argmax(axis=1), found.max(axis=1)
    return indices, correlations


def can_differ(patients: np.ndarray, others: np.ndarray) -> bool:
    """Whether any difference between two groups, (N,) and (M,) names, could be beyond chance."""
    numbers = len(np.unique(patients)), len(np.unique(others))
    # The p of two groups that do not overlap at all.
    return 2 / math.comb(sum(numbers), numbers[0]) <= SIGNIFICANCE


def compare_patients(
    values: np.ndarray, patients: np.ndarray, others: np.ndarray, other_patients: np.ndarray
) -> Comparison | None:
    """Compares slices' values of two groups, each patient by the mean of their slices.

    Args:
      values, others: (N,) and (M,) float; NaN is left out.
      patients, other_patients: (N,) and (M,) names.

    Returns:
      None where `can_differ` says no.
    """
    known, others_known = ~np.isnan(values), ~np.isnan(others)
    patients, other_patients = patients[known], other_patients[others_known]
    if not can_differ(patients, other_patients):
        return None
    means = _means(values[known], patients), _means(others[others_known], other_patients)
    test = mannwhitneyu(*means)
    delta = 2 * test.statistic / (len(means[0]) * len(means[1])) - 1
    return Comparison(*(float(x.mean()) for x in means), float(delta), float(test.pvalue))


def _measure(record: Record, kind: str) -> tuple:
    """The fields of Part from `patients` on, of one slice."""
    levels, tissue = record["image"][..., 0], record["tissue"][..., 0]
    constant = levels.min() == levels.max()
    name, share, outside = record["subject"], np.nan, np.nan
    if kind == "scan":
        name = f"{name} slice {record['slice_number']}"
        head, tumor = is_brain(tissue), is_tumor(tissue)
        share = tumor.mean()
        if share:
            outside = _is_air(levels[tumor], record).mean()
    elif kind == "mask":
        head, tumor = _read_mask(levels)
        share = tumor.mean()
    else:
        head = np.zeros(levels.shape, bool)
        if not constant:
            head = find_brain(np.where(levels > _RINGING, levels, 0)[None])[0]
    coarse = Image.fromarray(levels).resize((COMPARED_SIZE,) * 2, Image.Resampling.BOX)
    looks = _measure_head(levels, head)
    return record["subject"], name, np.asarray(coarse), constant, *looks, share, outside


def _measure_head(levels: np.ndarray, head: np.ndarray) -> tuple:
    """The fields of Part from `head` to `clipped`, of one slice."""
    if not head.any():
        return (np.nan,) * len(HEAD), np.nan, np.nan, np.nan
    centres, lengths = [], []
    for axis in (1, 0):
        share = head.sum(axis=axis) / head.sum()
        places = (np.arange(len(share)) + 0.5) / len(share)
        first, last = np.searchsorted(np.cumsum(share), (_STRAY, 1 - _STRAY))
        centres.append(share @ places)
        lengths.append(places[last] - places[first] + 1 / len(share))
    counts = np.bincount(levels[head], minlength=256)
    low, median, high = np.searchsorted(np.cumsum(counts) / counts.sum(), (0.25, 0.5, 0.75))
    clipped = max(counts[0], counts[255]) / counts.sum()
    return (*centres, *lengths, head.mean()), median, high - low, clipped


def _is_air(levels: np.ndarray, record: Record) -> np.ndarray:
    """True where a scan's grey levels are those of next to no signal, but for rounding."""
    units = AIR_SIGNAL * abs(record["brain_median"]) * np.array([-1, 1])
    values = (units - record["intensity_offset"]) / record["intensity_scale"]
    low, high = (np.clip(values, -1, 1) + 1) * 127.5
    return (levels >= low - 1) & (levels <= high + 1)


def _read_mask(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a picture of a mask shows, and what of it is tumour, in whichever style it is drawn."""
    values = levels / 127.5 - 1
    shown = decode_tumor(values, "tumor", "classes")
    if shown.any() and np.median(np.abs(values[shown])) < _MID_GREY:
        return shown, decode_tumor(values, "tumor_in_brain", "classes")
    return shown, shown


def _means(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    _, places = np.unique(patients, return_inverse=True)
    return np.bincount(places, values) / np.bincount(places)


def _normalize(coarse: np.ndarray) -> np.ndarray:
    """(N, 32, 32) -> (N, 1024) float32 of mean 0 and length 1; 0 where nothing much is shown."""
    flat = coarse.reshape(-1, COMPARED_SIZE**2).astype(np.float32)
    shown = np.mean(flat > flat.min(axis=1, keepdims=True) + _SHOWN_LEVELS, axis=1) >= LEAST_SHOWN
    flat -= flat.mean(axis=1, keepdims=True)
    flat[~shown] = 0
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)

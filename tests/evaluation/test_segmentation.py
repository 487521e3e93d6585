import json

import numpy as np
import pytest
from skimage.measure import regionprops
from skimage.metrics import hausdorff_distance
from sklearn.metrics import f1_score, precision_score, recall_score

from brainsynth_jax.evaluation.segmentation import (
    METRICS,
    centroid_error_mm,
    dice,
    hausdorff_95_mm,
    precision,
    score_slices,
    score_subjects,
    sensitivity,
    split_subjects,
    summarize_difference,
    summarize_subjects,
)

EMPTY = np.zeros((3, 5, 7), bool)


def square(top, left, size=4, shape=(1, 20, 22)):
    mask = np.zeros(shape, bool)
    mask[:, top : top + size, left : left + size] = True
    return mask


def outline_points(mask, spacing_mm, slice_numbers):
    """Pixel by pixel: what is in the mask and has a neighbour in its slice that is not."""
    points = []
    for k, row, column in zip(*np.nonzero(mask), strict=True):
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            outside = not (0 <= r < mask.shape[1] and 0 <= c < mask.shape[2])
            if outside or not mask[k, r, c]:
                points.append(np.array([slice_numbers[k], row, column]) * spacing_mm)
                break
    return np.array(points)


def brute_hausdorff(a, b, spacing_mm, slice_numbers, percentile=95):
    a = outline_points(a, spacing_mm, slice_numbers)
    b = outline_points(b, spacing_mm, slice_numbers)
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return max(np.percentile(distance.min(axis=k), percentile) for k in (0, 1))


def test_overlap_of_hand_counted_masks():
    truth = np.array([[1, 1, 1, 1, 0, 0]], bool)
    drawn = np.array([[0, 0, 1, 1, 1, 0]], bool)
    assert dice(drawn, truth) == pytest.approx(4 / 7)
    assert sensitivity(drawn, truth) == pytest.approx(2 / 4)
    assert precision(drawn, truth) == pytest.approx(2 / 3)


def test_overlap_of_empty_masks():
    full = ~EMPTY
    assert dice(EMPTY, EMPTY) == 1
    assert dice(EMPTY, full) == dice(full, EMPTY) == 0
    assert np.isnan(sensitivity(full, EMPTY))
    assert sensitivity(EMPTY, full) == 0
    assert np.isnan(precision(EMPTY, full))
    assert precision(full, EMPTY) == 0


@pytest.mark.parametrize("measure", [dice, sensitivity, precision])
def test_masks_of_other_shapes_or_types_are_refused(measure):
    with pytest.raises(ValueError, match=r"\(3, 5, 7\).*\(2, 5, 7\)"):
        measure(EMPTY, EMPTY[:2])
    with pytest.raises(ValueError, match="uint8"):
        measure(EMPTY.astype(np.uint8), EMPTY)


def test_hausdorff_of_shifted_squares_is_the_shift_times_the_spacing():
    # Three columns to the right, 2 mm each: the left edge is three columns from the nearest
    # outline point, and it holds more than 5 % of the points.
    assert hausdorff_95_mm(square(5, 5), square(5, 8), (1, 1, 2), [0]) == pytest.approx(6)
    assert hausdorff_95_mm(square(5, 5), square(9, 5), (1, 3, 2), [0]) == pytest.approx(12)


def test_hausdorff_of_single_pixels_is_their_distance_in_space():
    drawn, true = np.zeros((2, 6, 6), bool), np.zeros((2, 6, 6), bool)
    drawn[0, 1, 1] = true[1, 4, 5] = True
    distance = hausdorff_95_mm(drawn, true, (2, 0.5, 0.25), [10, 13])
    assert distance == pytest.approx(np.sqrt(6**2 + 1.5**2 + 1**2))


@pytest.mark.parametrize("seed", range(4))
def test_hausdorff_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    drawn, true = rng.random((2, 4, 9, 13)) < 0.25
    spacing_mm, slice_numbers = np.array([3.0, 0.9, 1.1]), np.array([4, 5, 9, 20])
    assert hausdorff_95_mm(drawn, true, spacing_mm, slice_numbers) == pytest.approx(
        brute_hausdorff(drawn, true, spacing_mm, slice_numbers)
    )


def test_brute_force_at_100_percent_is_scikit_images():
    # The reference of the test above against an implementation that is not ours; scikit-image
    # takes every mask pixel, which makes no difference for disjoint squares.
    drawn, true = square(2, 3), square(12, 14, size=5)
    assert brute_hausdorff(drawn, true, np.ones(3), [0], percentile=100) == pytest.approx(
        hausdorff_distance(drawn[0], true[0])
    )


def test_hausdorff_takes_the_worse_direction_and_forgives_5_percent():
    true = square(1, 1, size=10, shape=(1, 40, 40))
    speck = true.copy()
    speck[0, 39, 39] = True  # one outline point of 37: within the forgiven 5 %
    blotch = true.copy()
    blotch[0, 37:40, 37:40] = True  # eight of 44: not forgiven
    assert hausdorff_95_mm(speck, true, (1, 1, 1), [0]) == 0
    both_ways = {
        hausdorff_95_mm(blotch, true, (1, 1, 1), [0]),
        hausdorff_95_mm(true, blotch, (1, 1, 1), [0]),
    }
    assert len(both_ways) == 1
    assert both_ways.pop() > 35


def test_hausdorff_is_undefined_without_tumor_or_spacing():
    full = ~EMPTY
    numbers = range(3)
    assert np.isnan(hausdorff_95_mm(EMPTY, full, (1, 1, 1), numbers))
    assert np.isnan(hausdorff_95_mm(full, EMPTY, (1, 1, 1), numbers))
    assert np.isnan(hausdorff_95_mm(full, full, (np.nan, np.nan, np.nan), numbers))
    assert hausdorff_95_mm(full, full, (1, 1, 1), numbers) == 0


def test_centroid_error_of_shifted_squares_is_the_shift_times_the_spacing():
    assert centroid_error_mm(square(5, 5), square(5, 8), (5, 1, 2), [0]) == pytest.approx(6)
    assert centroid_error_mm(square(5, 5), square(9, 8), (5, 1, 2), [0]) == pytest.approx(
        np.hypot(4, 6)
    )
    # The same centre, whatever the size.
    assert centroid_error_mm(square(5, 5, 2), square(4, 4, 4), (5, 1, 2), [0]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_centroid_error_agrees_with_scikit_image(seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((2, 4, 9, 13)) < rng.random((2, 4, 1, 1))
    spacing_mm, slice_numbers = (3.0, 0.9, 1.1), np.array([4, 5, 9, 20])
    centroids = []
    for mask in masks:
        volume = np.zeros((21, 9, 13), int)
        volume[slice_numbers] = mask
        centroids.append(regionprops(volume, spacing=spacing_mm)[0].centroid)
    assert centroid_error_mm(*masks, spacing_mm, slice_numbers) == pytest.approx(
        np.linalg.norm(np.subtract(*centroids))
    )


def test_centroid_error_is_undefined_without_tumor_or_spacing():
    full = ~EMPTY
    assert np.isnan(centroid_error_mm(EMPTY, full, (1, 1, 1), range(3)))
    assert np.isnan(centroid_error_mm(full, EMPTY, (1, 1, 1), range(3)))
    assert np.isnan(centroid_error_mm(full, full, (np.nan, 1, 1), range(3)))


@pytest.fixture
def scored():
    # Subject "b" has its slices apart and out of order; nothing is drawn for "c".
    truths = np.concatenate([square(5, 5)] * 5)
    drawn = np.concatenate(
        [square(5, 5), square(5, 6), square(5, 5), square(5, 5), np.zeros((1, 20, 22), bool)]
    )
    return score_subjects(
        drawn, truths, ["b", "a", "b", "b", "c"], [31, 7, 30, 12, 3], np.tile([1, 1, 2.0], (5, 1))
    )


def test_scores_are_of_whole_subjects(scored):
    assert list(scored) == ["a", "b", "c"]
    assert scored["a"] == {
        "dice": pytest.approx(0.75),
        "sensitivity": pytest.approx(0.75),
        "precision": pytest.approx(0.75),
        "hausdorff_95_mm": pytest.approx(2),
        "centroid_error_mm": pytest.approx(2),
        "slices": 1,
    }
    assert scored["b"] == {
        **dict.fromkeys(METRICS[:3], 1.0),
        "hausdorff_95_mm": 0.0,
        "centroid_error_mm": 0.0,
        "slices": 3,
    }
    assert scored["c"] == {
        "dice": 0.0,
        "sensitivity": 0.0,
        "precision": None,
        "hausdorff_95_mm": None,
        "centroid_error_mm": None,
        "slices": 1,
    }


def test_a_subjects_dice_pools_its_slices():
    # Slice Dice would be 1 and 0, mean 0.5; the volume's is 2 x 16 / (16 + 32).
    truths = np.concatenate([square(5, 5), square(5, 5)])
    drawn = np.concatenate([square(5, 5), np.zeros((1, 20, 22), bool)])
    scores = score_subjects(drawn, truths, ["a", "a"], [0, 1], np.ones((2, 3)))
    assert scores["a"]["dice"] == pytest.approx(2 / 3)


def test_each_slice_is_scored_by_itself():
    rng = np.random.default_rng(0)
    drawn, true = rng.random((2, 5, 9, 13)) < 0.3
    drawn[1], true[3] = False, False
    subjects, slice_numbers = ["b", "a", "b", "b", "a"], [31, 7, 12, 30, 3]
    spacing_mm = rng.uniform(0.5, 3, (5, 3))
    rows = score_slices(drawn, true, subjects, slice_numbers, spacing_mm)
    order = [4, 1, 2, 3, 0]
    for row, k in zip(rows, order, strict=True):
        d, t = drawn[k].ravel(), true[k].ravel()
        distances = dict.fromkeys(METRICS[3:])
        if d.any() and t.any():
            centres = [
                regionprops(mask.astype(int), spacing=spacing_mm[k, 1:])[0].centroid
                for mask in (drawn[k], true[k])
            ]
            distances = {
                "hausdorff_95_mm": pytest.approx(
                    brute_hausdorff(drawn[k : k + 1], true[k : k + 1], spacing_mm[k], [0])
                ),
                "centroid_error_mm": pytest.approx(np.linalg.norm(np.subtract(*centres))),
            }
        assert row == {
            "subject": subjects[k],
            "slice_number": slice_numbers[k],
            "dice": pytest.approx(f1_score(t, d)),
            "sensitivity": pytest.approx(recall_score(t, d)) if t.any() else None,
            "precision": pytest.approx(precision_score(t, d)) if d.any() else None,
            **distances,
        }
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_subjects_are_split_and_their_slices_sorted():
    drawn = np.arange(5)[:, None, None] == np.arange(5)[None, :, None]
    spacing_mm = np.arange(1, 16.0).reshape(5, 3)
    split = split_subjects(drawn, ~drawn, ["b", "a", "b", "b", "a"], [31, 7, 12, 30, 3], spacing_mm)
    assert list(split) == ["a", "b"]
    for name, order in (("a", [4, 1]), ("b", [2, 3, 0])):
        np.testing.assert_array_equal(split[name].prediction, drawn[order])
        np.testing.assert_array_equal(split[name].truth, ~drawn[order])
        np.testing.assert_array_equal(split[name].slice_numbers, np.sort(split[name].slice_numbers))
        np.testing.assert_array_equal(split[name].spacing_mm, spacing_mm[order])


@pytest.mark.parametrize("score", [score_subjects, score_slices])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": ["a", "b"]}, r"\(3, 5, 7\), 2, \(3,\) and \(3, 3\)"),
        ({"slice_numbers": [1, 2]}, r"\(3, 5, 7\), 3, \(2,\) and \(3, 3\)"),
        ({"spacing_mm": np.ones(3)}, r"\(3, 5, 7\), 3, \(3,\) and \(3,\)"),
        ({"predictions": EMPTY[None], "truths": EMPTY[None]}, r"\(1, 3, 5, 7\)"),
        ({"truths": EMPTY[:, :4]}, r"\(3, 5, 7\).*\(3, 4, 7\)"),
        ({"slice_numbers": [4, 6, 4]}, r"different numbers, got \[4, 4, 6\] of a"),
        ({"spacing_mm": np.array([[1, 1, 1], [1, 0, 1], [1, np.nan, 1]])}, "got 0 to 1"),
        ({"spacing_mm": np.array([[1, 1, np.inf]] * 3)}, "got 1 to inf"),
    ],
)
def test_what_does_not_fit_together_is_refused(score, changes, message):
    arguments = {
        "predictions": EMPTY,
        "truths": EMPTY,
        "subjects": ["a"] * 3,
        "slice_numbers": [4, 6, 5],
        "spacing_mm": np.ones((3, 3)),
    }
    with pytest.raises(ValueError, match=message):
        score(**arguments | changes)


def test_summary_counts_what_is_undefined(scored):
    summary = summarize_subjects(scored, seed=3)
    assert set(summary) == set(METRICS)
    assert summary["dice"]["mean"] == pytest.approx(1.75 / 3)
    assert (summary["dice"]["subjects"], summary["dice"]["undefined"]) == (3, 0)
    low, high = summary["dice"]["interval_95"]
    assert 0 <= low < 1.75 / 3 < high <= 1
    assert summary["hausdorff_95_mm"]["mean"] == pytest.approx(1)
    assert (summary["hausdorff_95_mm"]["subjects"], summary["precision"]["undefined"]) == (2, 1)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_summary_of_nothing_defined_is_none():
    scores = {"a": {**dict.fromkeys(METRICS), "slices": 1}}
    assert summarize_subjects(scores, seed=0)["dice"] == {
        "mean": None,
        "interval_95": None,
        "subjects": 0,
        "undefined": 1,
    }


def test_difference_is_paired_by_subject():
    ours = {"a": {"dice": 0.9}, "b": {"dice": 0.3}, "only ours": {"dice": 0.0}}
    theirs = {"b": {"dice": 0.2}, "a": {"dice": 0.8}}
    difference = summarize_difference(ours, theirs, seed=0)
    assert difference["mean"] == pytest.approx(0.1)
    assert difference["subjects"] == 2
    # Both subjects gain 0.1: pairing leaves no spread, though Dice itself spans 0.6.
    assert difference["interval_95"] == pytest.approx([0.1, 0.1])

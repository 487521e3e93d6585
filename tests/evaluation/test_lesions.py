import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops

from brainsynth_jax.evaluation.lesions import (
    COUNTS,
    RATES,
    match_lesions,
    score_empty_slices,
    score_lesions,
    summarize_empty_slices,
    summarize_lesions,
)
from brainsynth_jax.evaluation.segmentation import SubjectMasks

SHAPE = (4, 20, 24)
SUCCESSIVE = np.arange(4)
UNKNOWN = np.full((4, 3), np.nan)


def masks(*boxes, shape=SHAPE):
    """Boxes of (slices, rows, columns), each a pair of first and end."""
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[tuple(slice(*side) for side in box)] = True
    return mask


def score_one(drawn, true, slice_numbers=SUCCESSIVE, spacing_mm=(1, 1, 1), **least):
    spacing_mm = np.broadcast_to(spacing_mm, (len(true), 3))
    scores = score_lesions(drawn, true, ["a"] * len(true), slice_numbers, spacing_mm, **least)
    return scores["a"]


def counts(scores):
    return tuple(scores[count] for count in COUNTS)


def brute_match(drawn, true, slice_numbers, spacing_mm, least_voxels):
    """Lesion by lesion in the whole volume, slices that are missing being empty."""
    volumes = {count: [] for count in COUNTS}
    whole = {}
    for name, mask in (("drawn", drawn), ("true", true)):
        whole[name] = np.zeros((max(slice_numbers) + 1, *mask.shape[1:]), bool)
        whole[name][slice_numbers] = mask
    regions = {
        name: [
            region
            for region in regionprops(label(volume, connectivity=3))
            if len(region.coords) >= least_voxels
        ]
        for name, volume in whole.items()
    }
    drawn_voxels = {tuple(voxel) for region in regions["drawn"] for voxel in region.coords}
    for region in regions["true"]:
        found = any(tuple(voxel) in drawn_voxels for voxel in region.coords)
        volumes["found" if found else "missed"].append(len(region.coords) * np.prod(spacing_mm))
    for region in regions["drawn"]:
        if not any(whole["true"][tuple(voxel)] for voxel in region.coords):
            volumes["false"].append(len(region.coords) * np.prod(spacing_mm))
    return volumes


TUMOR = ((0, 3), (2, 6), (2, 6))
ELSEWHERE = ((1, 3), (12, 16), (12, 18))


@pytest.mark.parametrize("least_voxels", [1, 5, 30])
@pytest.mark.parametrize("seed", range(3))
def test_matching_agrees_with_scikit_images_regions(seed, least_voxels):
    rng = np.random.default_rng(seed)
    drawn, true = gaussian_filter(rng.normal(size=(2, 9, 40, 50)), (0, 0.6, 1, 1)) > 0.25
    spacing_mm, slice_numbers = (3.0, 0.9, 1.1), np.array([2, 3, 4, 6, 7, 11, 12, 13, 20])
    expected = brute_match(drawn, true, slice_numbers, spacing_mm, least_voxels)
    matched = match_lesions(
        SubjectMasks(drawn, true, slice_numbers, np.tile(spacing_mm, (9, 1))), least_voxels
    )
    for name in COUNTS:
        assert expected[name]
        np.testing.assert_allclose(np.sort(getattr(matched, name)), np.sort(expected[name]))
    scores = score_one(drawn, true, slice_numbers, spacing_mm, least_voxels=least_voxels)
    found, missed, false = (len(expected[name]) for name in COUNTS)
    assert counts(scores) == (found, missed, false)
    # As ISLES 2022 writes it.
    assert scores["f1"] == pytest.approx(found / (found + (missed + false) / 2))
    assert scores["sensitivity"] == pytest.approx(found / (found + missed))
    assert scores["precision"] == pytest.approx(found / (found + false))


def test_one_found_one_missed_and_two_false():
    true = masks(TUMOR, ELSEWHERE)
    overlapping, false = ((2, 4), (5, 9), (5, 9)), ((0, 1), (12, 16), (0, 4))
    drawn = masks(overlapping, false, ((3, 4), (16, 20), (20, 24)))
    scores = score_one(drawn, true)
    assert counts(scores) == (1, 1, 2)
    assert [scores[rate] for rate in RATES] == pytest.approx([1 / 2, 1 / 3, 2 / 5])


def test_lesions_touch_at_corners_and_not_across_missing_slices():
    cornered = masks(((0, 2), (2, 6), (2, 6)), ((2, 4), (6, 10), (6, 10)))
    nothing = np.zeros(SHAPE, bool)
    assert score_one(nothing, cornered)["missed"] == 1
    assert score_one(nothing, cornered)["gaps"] == 0
    assert score_one(nothing, cornered, np.array([5, 6, 8, 9]))["missed"] == 2
    assert score_one(nothing, cornered, np.array([5, 6, 8, 9]))["gaps"] == 1
    assert score_one(cornered, nothing, np.array([5, 6, 8, 9]))["false"] == 2
    # Slices come as they may: 2 and 3 carry the second half.
    assert score_one(nothing, cornered[[2, 0, 3, 1]], np.array([2, 0, 3, 1]))["missed"] == 1


def test_lesions_of_two_subjects_are_apart():
    drawn = masks(TUMOR)
    scores = score_lesions(
        drawn, np.zeros_like(drawn), ["b", "b", "a", "a"], [0, 1, 2, 3], np.ones((4, 3))
    )
    assert list(scores) == ["a", "b"]
    assert [score["false"] for score in scores.values()] == [1, 1]


def test_specks_neither_find_nor_are_to_be_found():
    tumor, speck = masks(TUMOR), masks(((1, 2), (3, 4), (3, 12)))
    tumor_and_speck = masks(TUMOR, ((0, 1), (15, 18), (15, 18)))
    assert counts(score_one(speck & tumor, tumor)) == (0, 1, 0)
    assert counts(score_one(speck & tumor, tumor, least_voxels=3)) == (1, 0, 0)
    assert counts(score_one(tumor_and_speck, tumor)) == (1, 0, 0)
    assert counts(score_one(tumor_and_speck, tumor, least_voxels=9)) == (1, 0, 1)
    assert counts(score_one(tumor, tumor_and_speck)) == (1, 0, 0)
    assert counts(score_one(tumor, tumor_and_speck, least_voxels=9)) == (1, 1, 0)


def test_what_is_drawn_over_a_true_speck_is_not_false():
    speck, around = masks(((1, 2), (3, 5), (3, 5))), masks(((1, 2), (2, 6), (2, 6)))
    assert counts(score_one(around, speck)) == (0, 0, 0)
    assert counts(score_one(around, np.zeros_like(speck))) == (0, 0, 1)


def test_one_may_find_many_and_many_one():
    two, one = masks(TUMOR, ELSEWHERE), masks(((0, 4), (0, 20), (0, 24)))
    assert counts(score_one(one, two)) == (2, 0, 0)
    assert counts(score_one(two, one)) == (1, 0, 0)


@pytest.mark.parametrize("least_voxels", [0, 1, 10])
def test_truth_without_fault_and_with_nothing_in_it(least_voxels):
    nothing, tumor = np.zeros(SHAPE, bool), masks(TUMOR, ELSEWHERE, ((0, 1), (19, 20), (0, 1)))
    same = score_one(tumor, tumor, least_voxels=least_voxels)
    assert [same[rate] for rate in RATES] == [1, 1, 1]
    assert (same["missed"], same["false"]) == (0, 0)
    neither = score_one(nothing, nothing, least_voxels=least_voxels)
    assert [neither[rate] for rate in RATES] == [None, None, 1]
    all_missed = score_one(nothing, tumor, least_voxels=least_voxels)
    assert [all_missed[rate] for rate in RATES] == [0, None, 0]
    all_false = score_one(tumor, nothing, least_voxels=least_voxels)
    assert [all_false[rate] for rate in RATES] == [None, 0, 0]


def test_lesions_are_counted_by_their_volume():
    true = masks(((0, 1), (0, 5), (0, 5)), ((3, 4), (0, 5), (0, 5)), ((0, 3), (8, 18), (0, 10)))
    drawn = masks(((0, 1), (0, 5), (0, 5)), ((1, 4), (8, 17), (11, 20)))
    scores = score_one(drawn, true, spacing_mm=(2, 1, 1))
    nothing = {"found": 0, "missed": 0, "false": 0}
    assert scores["by_size"] == [
        {"from_mm3": 0, "to_mm3": 50, **nothing},
        # 25 voxels of 2 mm^3 are exactly 50 mm^3.
        {"from_mm3": 50, "to_mm3": 500, "found": 1, "missed": 1, "false": 1},
        {"from_mm3": 500, "to_mm3": 5_000, **nothing, "missed": 1},
        {"from_mm3": 5_000, "to_mm3": 50_000, **nothing},
        {"from_mm3": 50_000, "to_mm3": None, **nothing},
    ]
    vast = score_one(drawn, true, spacing_mm=(20, 10, 20))["by_size"]
    assert [tuple(size[count] for count in COUNTS) for size in vast] == [
        *[(0, 0, 0)] * 4,
        (1, 2, 1),
    ]


def test_without_spacing_lesions_are_counted_and_not_sized():
    unsized = score_one(masks(TUMOR), masks(TUMOR, ELSEWHERE), spacing_mm=UNKNOWN)
    assert counts(unsized) == (1, 1, 0)
    assert unsized["by_size"] is None
    summary = summarize_lesions({"a": unsized}, seed=0)
    assert (summary["found"], summary["by_size"]) == (1, None)


@pytest.fixture
def scored():
    """Subject a: one found; b: one missed, one false; c: nothing there, one drawn."""
    nothing, tumor, other = np.zeros(SHAPE, bool), masks(TUMOR), masks(ELSEWHERE)
    return score_lesions(
        np.concatenate([tumor, other, tumor]),
        np.concatenate([tumor, tumor, nothing]),
        [*"aaaa", *"bbbb", *"cccc"],
        np.tile(SUCCESSIVE, 3),
        np.ones((12, 3)),
    )


def test_summary_is_over_subjects_and_sums_their_lesions(scored):
    summary = summarize_lesions(scored, seed=0)
    assert counts(summary) == (1, 1, 2)
    assert summary["sensitivity"]["mean"] == pytest.approx(1 / 2)
    assert (summary["sensitivity"]["subjects"], summary["sensitivity"]["undefined"]) == (2, 1)
    assert summary["sensitivity"]["interval_95"] == [0, 1]
    assert summary["precision"]["mean"] == summary["f1"]["mean"] == pytest.approx(1 / 3)
    # TUMOR and ELSEWHERE have 48 voxels each.
    assert counts(summary["by_size"][0]) == (1, 1, 2)
    assert summary["by_size"][0]["to_mm3"] == 50
    assert all(counts(size) == (0, 0, 0) for size in summary["by_size"][1:])
    assert json.loads(json.dumps([scored, summary], allow_nan=False)) == [scored, summary]


def test_one_subject_has_no_interval(scored):
    summary = summarize_lesions({"a": scored["a"]}, seed=0)
    assert [summary[rate]["mean"] for rate in RATES] == [1, 1, 1]
    assert [summary[rate]["interval_95"] for rate in RATES] == [None] * 3


def test_no_subject_has_no_number():
    summary = summarize_lesions({}, seed=0)
    assert [summary[rate]["mean"] for rate in RATES] == [None] * 3
    assert (*counts(summary), summary["by_size"]) == (0, 0, 0, None)


def empty_slice_scores(spacing_mm, **least):
    """Subject a: of 3 slices without tumour one has 12 pixels drawn, one 9; b: none without."""
    true = masks(((3, 5), (2, 6), (2, 6)), shape=(5, 20, 24))
    drawn = masks(
        ((0, 1), (0, 3), (0, 4)), ((2, 3), (0, 3), (0, 3)), ((3, 5), (0, 9), (0, 9)),
        shape=(5, 20, 24),
    )  # fmt: skip
    return score_empty_slices(drawn, true, [*"aaaab"], [4, 9, 2, 7, 1], spacing_mm, **least)


def test_tumors_drawn_where_there_are_none():
    scores = empty_slice_scores(np.tile([3.0, 0.5, 2.0], (5, 1)))
    assert scores["a"] == {
        "empty_slices": 3,
        "drawn_share": pytest.approx(1 / 3),
        "drawn_area_mm2": pytest.approx((12 + 9) / 3),
    }
    assert scores["b"] == {"empty_slices": 0, "drawn_share": None, "drawn_area_mm2": None}
    wide = empty_slice_scores(np.tile([3.0, 2.0, 2.0], (5, 1)), least_pixels=9)["a"]
    assert wide["drawn_share"] == pytest.approx(2 / 3)
    assert wide["drawn_area_mm2"] == pytest.approx(4 * (12 + 9) / 3)


def test_without_spacing_there_is_a_share_and_no_area():
    scores = empty_slice_scores(np.full((5, 3), np.nan))
    assert scores["a"]["drawn_share"] == pytest.approx(1 / 3)
    assert scores["a"]["drawn_area_mm2"] is None


def test_summary_of_empty_slices_is_over_subjects():
    scores = {
        **empty_slice_scores(np.ones((5, 3))),
        "c": {"empty_slices": 10, "drawn_share": 0.0, "drawn_area_mm2": 1.0},
    }
    summary = summarize_empty_slices(scores, seed=0)
    assert summary["empty_slices"] == 13
    assert summary["drawn_share"]["mean"] == pytest.approx((1 / 3 + 0) / 2)
    assert summary["drawn_share"]["interval_95"] == pytest.approx([0, 1 / 3])
    assert summary["drawn_area_mm2"]["mean"] == pytest.approx((7 + 1) / 2)
    assert (summary["drawn_area_mm2"]["subjects"], summary["drawn_area_mm2"]["undefined"]) == (2, 1)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize("score", [score_lesions, score_empty_slices])
def test_what_does_not_fit_together_is_refused(score):
    mask = masks(TUMOR)
    with pytest.raises(ValueError, match=r"\(4, 20, 24\), 3, \(4,\) and \(4, 3\)"):
        score(mask, mask, ["a"] * 3, SUCCESSIVE, np.ones((4, 3)))

import io
from itertools import combinations

import numpy as np
import pytest
from heads import SIDE, draw_head, make_part, make_record
from PIL import Image
from skimage.measure import block_reduce, regionprops

from brainsynth_jax.data.masks import (
    BRAIN,
    CORE,
    ENHANCING,
    MASK_CLASSES,
    MASK_STYLES,
    OEDEMA,
    is_tumor,
    render_mask,
)
from brainsynth_jax.data.scan import Scan
from brainsynth_jax.data.slice_measures import (
    HEAD,
    SIGNIFICANCE,
    can_differ,
    compare_patients,
    join_parts,
    measure_part,
    nearest_of_others,
)
from brainsynth_jax.data.slices import SliceOptions, prepare_scan


def measure(levels, kind="picture", **record):
    return measure_part("train", [make_record(levels, **record)], kind)


def save_as_jpeg(levels, quality):
    content = io.BytesIO()
    Image.fromarray(levels).save(content, format="JPEG", quality=quality)
    return np.asarray(Image.open(content))


@pytest.mark.parametrize("kind", ["scan", "picture", "mask"])
def test_a_heads_place_and_size_are_those_of_scikit_image(kind):
    levels = np.zeros((SIDE, SIDE), np.uint8)
    levels[10:42, 20:36] = 130
    levels[12, 22] = 140
    levels[0, 63] = 130 if kind == "picture" else 0  # a lone bright pixel
    (region,) = regionprops((levels[1:] > 0).astype(int), offset=(1, 0))
    top, left, bottom, right = region.bbox
    row, column = np.add(region.centroid, 0.5)
    expected = [row, column, bottom - top, right - left, region.area / SIDE]
    measured = dict(zip(HEAD, measure(levels, kind).head[0] * SIDE, strict=True))
    assert measured == pytest.approx(dict(zip(HEAD, expected, strict=True)), abs=0.15)


def test_grey_levels_are_measured_within_the_head():
    levels = draw_head(3)
    part = measure(levels, "scan")
    inside = levels[levels > 0]
    quarter, median, three = np.percentile(inside, [25, 50, 75], method="inverted_cdf")
    assert (part.median[0], part.spread[0]) == (median, three - quarter)
    assert part.clipped[0] == 0
    levels[levels > 180] = 255
    assert measure(levels, "scan").clipped[0] == pytest.approx(np.mean(inside > 180))
    levels[(levels > 0) & (levels < 130)] = 1
    tissue_kept = make_record(levels)
    tissue_kept["image"] = np.where(levels == 1, 0, levels)[..., None]
    dark = measure_part("train", [tissue_kept], "scan")
    assert dark.clipped[0] == pytest.approx(np.mean(inside < 130))


def test_a_slice_of_one_level_is_constant_and_has_no_head():
    for level in (0, 90):
        part = measure(np.full((SIDE, SIDE), level, np.uint8))
        assert part.constant.tolist() == [True]
        assert np.isnan([*part.head[0], part.median[0], part.spread[0], part.clipped[0]]).all()
    assert measure(draw_head()).constant.tolist() == [False]


def test_jpeg_moves_no_head():
    levels = draw_head(1, side=256)
    saved = measure(save_as_jpeg(levels, 60))
    np.testing.assert_allclose(saved.head, measure(levels).head, atol=0.008)


def test_coarse_pictures_are_means_but_for_rounding():
    levels = draw_head(2)
    expected = block_reduce(levels.astype(float), 2, np.mean)
    np.testing.assert_allclose(measure(levels).coarse[0], expected, atol=1)
    small = draw_head(2, side=24)
    assert measure_part("train", [make_record(small)], "picture").coarse.shape == (1, 32, 32)


@pytest.mark.parametrize("classes", MASK_CLASSES)
@pytest.mark.parametrize("style", MASK_STYLES)
@pytest.mark.parametrize("quality", [None, 80])
def test_the_tumor_of_a_mask_is_read_in_every_style(style, classes, quality):
    tissue = np.zeros((SIDE, SIDE), np.uint8)
    tissue[8:56, 8:56] = BRAIN
    for tumor in ((), (OEDEMA,), (OEDEMA, CORE, ENHANCING)):
        for depth, code in enumerate(tumor):
            tissue[16 + 4 * depth : 40 - 4 * depth, 16:40] = code
        levels = ((render_mask(tissue, style, classes) + 1) * 127.5).round().astype(np.uint8)
        if quality:
            levels = save_as_jpeg(levels, quality)
        share = measure(levels, "mask").tumor[0]
        assert share == pytest.approx(is_tumor(tissue).mean(), abs=0.02 if quality else 0)


def prepare(image, labels):
    scan = Scan(image[None].astype(np.float32), labels[None], (1.0, 1.0, 1.0), np.array([7]))
    options = SliceOptions(image_size=SIDE, min_tumor_area_pixels=0)
    return measure_part("train", prepare_scan("S1", scan, options), "scan")


def test_the_share_of_a_tumor_outside_a_stripped_brain():
    levels = draw_head(4).astype(float) * 7
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[20:30, 4:24] = OEDEMA
    background = np.mean(levels[labels > 0] == 0)
    assert 0.2 < background < 0.8
    part = prepare(levels, labels)
    assert part.slices.tolist() == ["S1 slice 7"]
    assert part.outside[0] == pytest.approx(background)
    assert part.tumor[0] == pytest.approx(200 / SIDE**2)
    assert prepare(levels, np.roll(labels, (5, 20), (0, 1))).outside[0] == 0
    assert np.isnan(prepare(levels, labels * 0).outside[0])


def test_a_dark_tumor_in_the_brain_is_not_outside():
    levels = draw_head(4).astype(float) * 7
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[26:36, 26:36] = CORE
    levels[26:36, 26:36] *= 0.25
    assert prepare(levels, labels).outside[0] == 0


def test_intensities_around_zero_are_not_taken_for_air():
    """Standardised volumes, whose brain has a median of 0 and whose background is 0 exactly."""
    levels = draw_head(4).astype(float)
    standardised = np.where(levels > 0, (levels - np.median(levels[levels > 0])) / 40, 0)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[20:44, 20:44] = OEDEMA
    assert prepare(standardised, labels).outside[0] < 0.1


def test_the_nearest_of_others_agrees_with_numpys_correlation():
    ours = make_part("test", {f"T{n}": [draw_head(n), draw_head(50 + n)] for n in range(4)})
    theirs = make_part("train", {f"T{n}": [draw_head(100 + n)] for n in range(6)})
    indices, correlations = nearest_of_others(ours, theirs)
    for i in range(len(ours.slices)):
        best = max(
            (np.corrcoef(ours.coarse[i].ravel(), picture.ravel())[0, 1], j)
            for j, coarse in enumerate(theirs.coarse)
            if theirs.patients[j] != ours.patients[i]
            for picture in (coarse, coarse[:, ::-1])
        )
        assert (correlations[i], indices[i]) == pytest.approx(best, abs=1e-5)


def test_what_shows_next_to_nothing_has_no_nearest():
    dot = np.zeros((SIDE, SIDE), np.uint8)
    dot[30:34, 30:34] = 200
    flat = np.full((SIDE, SIDE), 90, np.uint8)
    first, second = (make_part("x", {name: [dot, flat, draw_head(1)]}) for name in "AB")
    np.testing.assert_allclose(nearest_of_others(first, second)[1], [-1, -1, 1], atol=1e-6)
    empty = measure_part("none", [], "picture")
    assert nearest_of_others(first, empty)[1].tolist() == [-1, -1, -1]
    assert nearest_of_others(empty, first)[1].size == 0
    assert nearest_of_others(first, first)[1].tolist() == [-1, -1, -1], "of one patient"


def test_patients_are_compared_by_their_means_and_exactly():
    """The p of every division of 13 patients in 6 and 7, counted; delta from every pair."""
    rng = np.random.default_rng(0)
    patients = np.array([f"P{n}" for n in range(6) for _ in range(n + 1)])
    others = np.array([f"Q{n}" for n in range(7) for _ in range(3)])
    values, other_values = rng.normal(1, 1, len(patients)), rng.normal(0, 1, len(others))
    values[patients == "P3"] = [5, np.nan, np.nan, 1]
    ours = [np.nanmean(values[patients == f"P{n}"]) for n in range(6)]
    theirs = [np.mean(other_values[others == f"Q{n}"]) for n in range(7)]

    def delta(one, other):
        return np.mean([np.sign(x - y) for x in one for y in other])

    observed, everyone = delta(ours, theirs), {*ours, *theirs}
    as_far = [
        abs(delta(chosen, everyone - set(chosen))) >= abs(observed) - 1e-9
        for chosen in combinations(everyone, 6)
    ]
    compared = compare_patients(values, patients, other_values, others)
    expected = (np.mean(ours), np.mean(theirs), observed, np.mean(as_far))
    assert compared == pytest.approx(expected, abs=1e-9)


def test_too_few_patients_cannot_differ_however_many_slices_they_have():
    def groups(*numbers):
        return [np.repeat([f"{side}{n}" for n in range(k)], 50) for side, k in enumerate(numbers)]

    for numbers, enough in (((6, 7), True), ((6, 6), False), ((1, 900), False), ((2, 30), False)):
        ours, theirs = groups(*numbers)
        assert can_differ(ours, theirs) == enough
        apart = np.arange(len(ours)), -np.arange(len(theirs))
        compared = compare_patients(apart[0], ours, apart[1], theirs)
        assert (compared is not None) == enough
        assert not enough or compared.p <= SIGNIFICANCE


def test_parts_are_joined_in_order():
    one, other = make_part("train", {"A": [draw_head(1)]}), make_part("test", {"B": [draw_head(2)]})
    both = join_parts((one, other, measure_part("none", [], "picture")))
    assert both.patients.tolist() == ["A", "B"]
    np.testing.assert_array_equal(both.coarse, [one.coarse[0], other.coarse[0]])
    assert both.name == "train and test and none"

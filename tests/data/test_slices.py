import numpy as np
import pytest
from tiny import grow_scan

from brainsynth_jax.data.masks import BRAIN, OEDEMA, TUMOR, is_tumor
from brainsynth_jax.data.scan import Scan
from brainsynth_jax.data.slices import (
    SliceOptions,
    fit_square,
    prepare_picture,
    prepare_scan,
    squared_shape,
)
from brainsynth_jax.errors import UserError

OPTIONS = SliceOptions(image_size=33, min_tumor_area_pixels=1)


def tiny_scan(spacing_mm=(1.0, 1.0, 1.0), first_slice=0):
    flair, seg = grow_scan()
    image = flair.T.astype(np.float32)
    labels = np.array([0, 3, 2, 0, 4], np.uint8)[seg.T]
    return Scan(image, labels, spacing_mm, np.arange(first_slice, first_slice + len(image)))


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "expected"),
    [
        ((10, 10), None, (10, 10)),
        ((7, 10), None, (10, 10)),
        ((24, 20), (5.0, 1.0, 1.0), (24, 24)),
        ((24, 20), (5.0, 0.5, 1.0), (40, 20)),
        ((13, 21), (5.0, 2.0, 0.9), (13, 29)),
    ],
)
def test_the_square_is_one_of_millimetres(shape, spacing_mm, expected):
    assert squared_shape(shape, spacing_mm) == expected


def test_padding_is_centred_and_black():
    picture = np.ones((3, 5), np.float32)
    square = fit_square(picture, None, 5)
    np.testing.assert_array_equal(square[1:4], picture)
    np.testing.assert_array_equal(square[[0, 4]], -1)
    np.testing.assert_array_equal(fit_square(np.full((3, 5), 4, np.uint8), None, 5)[[0, 4]], 0)


def test_halving_averages_instead_of_skipping():
    stripes = np.tile(np.float32([-1, 1]), (8, 4))
    np.testing.assert_allclose(fit_square(stripes, None, 4)[:, 1:-1], 0, atol=0.2)


@pytest.mark.parametrize("size", [7, 16, 31, 64])
def test_labels_stay_labels_and_in_place(size):
    labels = np.zeros((23, 17), np.uint8)
    labels[4:12, 3:9] = 4
    small = fit_square(labels, None, size)
    assert small.shape == (size, size)
    assert small.dtype == np.uint8
    assert set(np.unique(small)) == {0, 4}
    share = 8 * 6 / 23**2
    assert np.mean(small == 4) == pytest.approx(share, abs=2.5 / size)
    rows, columns = np.nonzero(small)
    assert (rows.mean() + 0.5) / size == pytest.approx(8 / 23, abs=1 / size)
    assert (columns.mean() + 0.5) / size == pytest.approx((6 + 3) / 23, abs=1 / size)


def test_image_and_labels_are_resized_onto_each_other():
    block = np.zeros((24, 20), np.float32)
    block[5:15, 6:16] = 1
    image = fit_square(2 * block - 1, None, 60)
    labels = fit_square(block.astype(np.uint8), None, 60)
    assert np.mean((image > 0) != (labels > 0)) < 0.01


def test_a_record_says_how_to_go_back_to_scanner_units():
    scan = tiny_scan()._replace(image=tiny_scan().image * 3)
    for intensity in ("median", "percentiles"):
        options = OPTIONS._replace(intensity=intensity, image_size=24)
        record = prepare_scan("ann", scan, options)[1]
        values = record["image"][..., 0] / 127.5 - 1
        units = record["intensity_offset"] + record["intensity_scale"] * values
        truth = fit_square(scan.image[record["slice_number"]], None, 24)
        # Not clipped at either end: exact up to half a grey level.
        inside = (record["image"][..., 0] > 0) & (record["image"][..., 0] < 255)
        assert inside.sum() > 100
        assert np.abs(units - truth)[inside].max() <= record["intensity_scale"] / 255 * 1.01
        assert record["brain_median"] == pytest.approx(np.median(scan.image[scan.image > 0]))


def test_records_have_the_documented_fields():
    records = prepare_scan("ann", tiny_scan((3.0, 1.0, 0.9), first_slice=40), OPTIONS)
    record = records[0]
    assert record["image"].shape == record["tissue"].shape == (33, 33, 1)
    assert record["image"].dtype == record["tissue"].dtype == np.uint8
    assert record["subject"] == "ann"
    assert [r["slice_number"] for r in records] == sorted(r["slice_number"] for r in records)
    assert records[0]["slice_number"] > 40
    # 24 rows of 1 mm decide; 20 columns of 0.9 mm are padded to 27 of them.
    np.testing.assert_allclose(record["spacing_mm"], [3, 24 / 33, 0.9 * 27 / 33], rtol=1e-6)


def test_background_is_black_and_tumour_brighter_than_brain():
    for record in prepare_scan("ann", tiny_scan(), OPTIONS):
        image, tissue = record["image"], record["tissue"]
        assert (image[tissue == 0] == 0).all()
        assert image[is_tumor(tissue)].mean() > image[tissue == BRAIN].mean() + 20
        assert is_tumor(tissue).any()


def test_only_slices_with_enough_tumour_are_taken():
    areas = {
        r["slice_number"]: int(is_tumor(r["tissue"]).sum())
        for r in prepare_scan("ann", tiny_scan(), OPTIONS)
    }
    least = max(areas.values())
    some = prepare_scan("ann", tiny_scan(), OPTIONS._replace(min_tumor_area_pixels=least))
    assert [r["slice_number"] for r in some] == [z for z, a in areas.items() if a >= least]
    assert 0 < len(some) < len(areas)


def test_area_zero_takes_slices_without_tumour():
    records = prepare_scan("ann", tiny_scan(), OPTIONS._replace(min_tumor_area_pixels=0))
    assert [r["slice_number"] for r in records] == list(range(9))
    assert not is_tumor(records[0]["tissue"]).any()


def test_a_range_takes_its_ends_and_all_between_that_show_enough_tumour():
    options = OPTIONS._replace(slices=(40, 44), min_tumor_area_pixels=0)
    records = prepare_scan("ann", tiny_scan(first_slice=40), options)
    assert [r["slice_number"] for r in records] == [40, 41, 42, 43, 44]
    assert not is_tumor(records[0]["tissue"]).any()
    some = prepare_scan("ann", tiny_scan(first_slice=40), options._replace(min_tumor_area_pixels=1))
    assert [r["slice_number"] for r in some] == [
        r["slice_number"] for r in records if is_tumor(r["tissue"]).any()
    ]
    assert 0 < len(some) < len(records)


def test_fifty_pixels_of_tumour_are_asked_for_unless_told_otherwise():
    assert SliceOptions().min_tumor_area_pixels == 50


def test_a_range_outside_the_scan_is_refused():
    with pytest.raises(UserError, match=r"--slices=60:107 .* slices are 0 to 8"):
        prepare_scan("ann", tiny_scan(), OPTIONS._replace(slices=(60, 107)))


def test_tumour_outside_the_brain_is_tumour_all_the_same():
    scan = tiny_scan()
    scan.labels[4, 0, 0] = OEDEMA
    records = prepare_scan("ann", scan, OPTIONS._replace(image_size=24, slices=(4, 4)))
    assert records[0]["tissue"][0, 2, 0] == OEDEMA


def test_unknown_spacing_stays_unknown():
    scan = tiny_scan(spacing_mm=None)
    scan.labels[scan.labels > 0] = TUMOR
    record = prepare_scan("ann", scan, OPTIONS)[0]
    assert np.isnan(record["spacing_mm"]).all()
    assert set(np.unique(record["tissue"])) == {0, BRAIN, TUMOR}


def test_lone_pictures_keep_their_grey_levels():
    picture = np.float32([[0, 128, 255], [255, 0, 128]])
    scan = Scan(picture[None], None, None, np.zeros(1, np.int32))
    (record,) = prepare_picture("a", scan, 3, is_mask=False)
    np.testing.assert_array_equal(record["image"][:2, :, 0], picture)
    assert np.isnan(record["brain_std"])
    (mask,) = prepare_picture("b", scan._replace(image=picture[None] // 255 * 255), 7, is_mask=True)
    assert set(np.unique(mask["image"])) == {0, 255}
    assert not mask["tissue"].any()


def test_a_field_of_view_is_a_square_in_mm_around_the_brain():
    scan = tiny_scan(spacing_mm=(1.0, 2.0, 1.0))
    empty = np.zeros((9, 40, 50), np.float32)
    image, labels = empty.copy(), empty.astype(np.uint8)
    image[:, 3:27, 25:45], labels[:, 3:27, 25:45] = scan.image, scan.labels
    moved = scan._replace(image=image, labels=labels)
    options = OPTIONS._replace(min_tumor_area_pixels=0, field_of_view_mm=48.0, image_size=48)
    shown, reference = prepare_scan("ann", moved, options), prepare_scan("ann", scan, options)
    brain = np.flatnonzero(scan.image.any(axis=(0, 2))), np.flatnonzero(scan.image.any(axis=(0, 1)))
    side = max(2 * np.ptp(brain[0]), np.ptp(brain[1]))
    assert side <= 48
    for one, other in zip(shown, reference, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["tissue"], other["tissue"])
        np.testing.assert_allclose(one["spacing_mm"], [1, 1, 1])
    rows = np.flatnonzero((shown[4]["tissue"] > 0).any(axis=(1, 2)))
    assert rows[0] + rows[-1] == pytest.approx(47, abs=2)  # centred


def test_a_field_of_view_may_reach_beyond_the_slice_and_cut_the_brain():
    options = OPTIONS._replace(min_tumor_area_pixels=0, image_size=32)
    wide = prepare_scan("ann", tiny_scan(), options._replace(field_of_view_mm=64.0))[4]
    whole = prepare_scan("ann", tiny_scan(), options)[4]
    narrow = prepare_scan("ann", tiny_scan(), options._replace(field_of_view_mm=8.0))[4]
    shares = [(record["tissue"] > 0).mean() for record in (wide, whole, narrow)]
    assert shares[0] < 0.3 * shares[1]
    assert shares[2] == 1
    np.testing.assert_allclose(wide["spacing_mm"], [1, 2, 2])


def test_a_field_of_view_needs_the_size_of_a_pixel():
    with pytest.raises(UserError, match=r"--field_of_view_mm=100: .* Leave it out"):
        prepare_scan("ann", tiny_scan(spacing_mm=None), OPTIONS._replace(field_of_view_mm=100.0))


EMPTY = OPTIONS._replace(empty_slices=3, min_tumor_area_pixels=99)


def long_scan(tumor=(), brain_side=10, count=20):
    """A square brain in slices 0 to 17, a tip of it in 18, nothing in 19."""
    image = np.zeros((count, 16, 16), np.float32)
    image[:-2, 3 : 3 + brain_side, 3:13] = np.random.default_rng(0).normal(500, 40, (10, 10))
    image[-2, 5:7, 5:7] = 500
    labels = np.zeros(image.shape, np.uint8)
    for z in tumor:
        labels[z, 7:9, 7:9] = OEDEMA
    return Scan(image, labels, (1.0, 1.0, 1.0), np.arange(100, 100 + count))


@pytest.mark.parametrize(
    ("tumor", "wanted", "found"),
    [
        ((), 3, [103, 109, 115]),  # of 18, the middles of the thirds
        (range(3, 18), 3, [100, 101, 102]),
        (range(1, 18), 3, [100]),
        (range(0, 18), 3, []),
        ((9,), 1, [108]),
    ],
)
def test_slices_without_tumour_are_spread_over_those_that_show_brain(tumor, wanted, found):
    records = prepare_scan("S", long_scan(tumor), EMPTY._replace(empty_slices=wanted))
    assert [record["slice_number"] for record in records] == found
    assert not any(is_tumor(record["tissue"]).any() for record in records)


def test_slices_without_tumour_stay_in_the_range_asked_for():
    records = prepare_scan("S", long_scan([5]), EMPTY._replace(slices=(104, 106)))
    assert [record["slice_number"] for record in records] == [104, 106]


def test_a_slice_without_tumour_is_prepared_like_any_other():
    scan = long_scan([4])
    every = prepare_scan("S", scan, OPTIONS._replace(min_tumor_area_pixels=0))
    for record in prepare_scan("S", scan, EMPTY):
        same = next(one for one in every if one["slice_number"] == record["slice_number"])
        for key in record:
            np.testing.assert_array_equal(record[key], same[key], err_msg=key)

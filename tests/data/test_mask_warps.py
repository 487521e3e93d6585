import numpy as np
import pytest
from scipy import ndimage

from brainsynth_jax.data.mask_warps import AREA_CHANGE, warp_tumors
from brainsynth_jax.data.masks import BRAIN, CORE, ENHANCING, OEDEMA, is_brain, is_tumor

SIDE = 96
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def disc(row, column, radius):
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 <= radius**2


def head():
    """A brain that is no mirror image of itself in any direction."""
    brain = disc(45, 45, 38) & ~disc(20, 70, 12)
    return brain.astype(np.uint8) * BRAIN


def nested():
    """Oedema around a core around enhancing tumour."""
    tissue = head()
    for radius, code in ((13, OEDEMA), (9, CORE), (5, ENHANCING)):
        tissue[disc(50, 35, radius)] = code
    return tissue


def quartered():
    """Oedema above core, so that up and down can be told; the left half of the core enhances."""
    tissue = head()
    tumor = disc(50, 35, 12)
    tissue[tumor & (ROWS < 50)] = OEDEMA
    tissue[tumor & (ROWS >= 50)] = CORE
    tissue[tumor & (ROWS >= 50) & (COLUMNS < 35)] = ENHANCING
    return tissue


def many(tissue, count=60, seed=0):
    return warp_tumors(np.stack([tissue] * count), seed)


def centre(mask):
    return np.array(ndimage.center_of_mass(mask))


def test_the_brain_stays_and_holds_the_tumour():
    tissue = nested()
    warped = many(tissue)
    assert warped.dtype == tissue.dtype
    np.testing.assert_array_equal(is_brain(warped), is_brain(np.stack([tissue] * len(warped))))
    assert is_tumor(warped).any(axis=(1, 2)).all()


def test_areas_change_within_the_stated_bounds_and_use_them():
    tissue = nested()
    ratios = is_tumor(many(tissue)).sum(axis=(1, 2)) / is_tumor(tissue).sum()
    least, most = AREA_CHANGE
    assert least <= ratios.min() < 0.6
    assert 1.7 < ratios.max() <= most
    assert np.median(ratios) == pytest.approx(1, abs=0.25), "as many shrink as grow"


def test_tumours_get_everywhere_in_the_brain_where_they_fit():
    centres = np.stack([centre(is_tumor(warped)) for warped in many(nested())])
    assert (np.ptp(centres, axis=0) > 35).all()
    assert centres.std(axis=0).min() > 8


def test_outlines_are_bent_not_only_scaled():
    """Half the length of the longest chord through the centre, beside that of the shortest."""
    tissue = nested()

    def roundness(mask):
        distances = np.hypot(*(np.argwhere(mask) - centre(mask)).T)
        return mask.sum() / (np.pi * distances.max() ** 2)

    assert roundness(is_tumor(tissue)) > 0.95
    found = [roundness(is_tumor(warped)) for warped in many(tissue)]
    assert np.mean(found) < 0.8
    assert np.std(found) > 0.03


def test_classes_lie_in_each_other_as_before():
    for warped in many(nested()):
        assert set(warped.flat) == {0, BRAIN, OEDEMA, CORE, ENHANCING}
        for inner in (CORE, ENHANCING):
            grown = ndimage.binary_dilation(warped >= inner)
            assert (warped[grown] >= inner - 1).all(), "its rim is the class around it"


def test_a_tumour_in_one_piece_stays_so():
    pieces = [ndimage.label(is_tumor(warped), np.ones((3, 3)))[1] for warped in many(nested())]
    assert pieces == [1] * len(pieces)


def test_left_and_right_are_mirrored_half_of_the_time_up_and_down_never():
    mirrored = []
    for warped in many(quartered()):
        above, below, left = (centre(warped == code) for code in (OEDEMA, CORE, ENHANCING))
        assert above[0] < min(below[0], left[0])
        mirrored.append(left[1] > below[1])
    assert 15 < sum(mirrored) < 45


def test_a_seed_decides_all_and_each_slice_by_itself():
    tissue = np.stack([nested(), quartered(), nested()])
    first = warp_tumors(tissue, 0)
    np.testing.assert_array_equal(first, warp_tumors(tissue, 0))
    np.testing.assert_array_equal(first[2], warp_tumors(tissue[[1, 0, 2]], 0)[2])
    np.testing.assert_array_equal(first[1:], warp_tumors(tissue[1:], 0, first=1))
    assert (first != warp_tumors(tissue, 1)).any(axis=(1, 2)).all()
    assert (first[0] != first[2]).any()


def test_the_given_maps_are_not_written_to():
    tissue = np.stack([nested(), head()])
    given = tissue.copy()
    warp_tumors(tissue, 0)[:] = 0
    np.testing.assert_array_equal(tissue, given)


def test_no_tumour_no_change():
    np.testing.assert_array_equal(warp_tumors(head()[None], 0), head()[None])
    assert warp_tumors(np.zeros((0, 8, 8), np.uint8), 0).shape == (0, 8, 8)


def test_a_tumour_that_fills_its_brain_stays():
    """Whatever its shape, it would have to shrink by more than it may."""
    tissue = head()
    tissue[38:50, 30:60] = OEDEMA
    tissue[~is_tumor(tissue)] = 0
    warped = many(tissue)
    np.testing.assert_array_equal(is_brain(warped), is_brain(np.stack([tissue] * len(warped))))
    assert is_tumor(warped).any(axis=(1, 2)).all()


def test_a_tumour_of_one_pixel_is_not_lost():
    tissue = head()
    tissue[50, 35] = OEDEMA
    areas = is_tumor(many(tissue)).sum(axis=(1, 2))
    assert set(areas) <= {1, 2}


def test_a_class_of_one_pixel_is_not_lost():
    tissue = nested()
    tissue[tissue == ENHANCING] = CORE
    tissue[50, 35] = ENHANCING
    assert (many(tissue) == ENHANCING).any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("tissue", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"\(N, H, W\)"),
        (np.zeros((1, 4, 4), np.float32), "integers"),
        (np.full((1, 4, 4), 6, np.uint8), "0 to 5 .* 6 to 6"),
        (np.full((1, 4, 4), -1, np.int8), "-1 to -1"),
    ],
)
def test_other_arrays_are_refused(tissue, message):
    with pytest.raises(ValueError, match=message):
        warp_tumors(tissue, 0)

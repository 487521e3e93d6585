import numpy as np
import pytest

from brainsynth_jax.data.intensity import (
    MEDIAN_SPAN_STD,
    BrainStatistics,
    choose_scale,
    find_brain,
    measure_brain,
    otsu_threshold,
    to_scanner_units,
    to_values,
)
from brainsynth_jax.errors import UserError


def test_median_scale_takes_the_median_to_zero():
    scale = choose_scale(BrainStatistics(median=600, std=100, low=300, high=900), "median")
    image = np.array([600.0, 600 + MEDIAN_SPAN_STD * 100, 600 - 250, 1e6])
    values = to_values(image, np.ones(4, bool), scale)
    np.testing.assert_allclose(values, [0, 1, -2.5 / MEDIAN_SPAN_STD, 1], atol=1e-6)
    assert values.dtype == np.float32


def test_percentile_scale_spans_the_percentiles():
    scale = choose_scale(BrainStatistics(median=600, std=100, low=300, high=900), "percentiles")
    values = to_values(np.array([300.0, 450, 900, 1000, 0]), np.ones(5, bool), scale)
    np.testing.assert_allclose(values, [-1, -0.5, 1, 1, -1], atol=1e-6)


@pytest.mark.parametrize("intensity", ["median", "percentiles"])
def test_the_inverse_undoes_the_scale(intensity):
    scale = choose_scale(BrainStatistics(median=600, std=100, low=300, high=900), intensity)
    image = np.linspace(310, 890, 13)
    values = to_values(image, np.ones(13, bool), scale)
    np.testing.assert_allclose(to_scanner_units(values, scale), image, rtol=1e-5)


def test_background_is_exactly_black():
    scale = choose_scale(BrainStatistics(median=0, std=1, low=-2, high=2), "median")
    values = to_values(np.zeros((2, 2)), np.array([[True, False], [False, True]]), scale)
    assert values.tolist() == [[0, -1], [-1, 0]]


def test_statistics_ignore_a_single_outlier():
    rng = np.random.default_rng(0)
    image = rng.normal(500, 50, (9, 30, 30)).astype(np.float32)
    brain = np.ones(image.shape, bool)
    clean = measure_brain(image, brain)
    image[0, 0, 0] = 32767
    spoilt = measure_brain(image, brain)
    np.testing.assert_allclose(spoilt, clean, rtol=1e-3)
    # Clipping at the percentiles takes 3 % off a normal distribution's deviation.
    assert clean.std == pytest.approx(50, rel=0.05)


def test_a_flat_or_empty_brain_is_refused():
    image = np.full((1, 4, 4), 7.0)
    with pytest.raises(UserError, match="the same intensity, 7, all over"):
        measure_brain(image, image > 0)
    with pytest.raises(UserError, match="no brain"):
        measure_brain(image, image > 9)


def test_a_stripped_brain_is_what_is_not_zero_with_its_holes():
    image = np.zeros((2, 21, 23), np.float32)
    image[:, 4:16, 5:18] = -3  # normalised scans have negative voxels
    image[0, 9, 9] = 0
    expected = np.zeros(image.shape, bool)
    expected[:, 4:16, 5:18] = True
    np.testing.assert_array_equal(find_brain(image), expected)


def test_a_head_is_told_from_the_noise_around_it():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4, (2, 31, 33)).astype(np.float32)
    image[:, 5:25, 6:26] = rng.normal(90, 5, (2, 20, 20))
    image[0, 12:14, 12:14] = 0
    expected = np.zeros(image.shape, bool)
    expected[:, 5:25, 6:26] = True
    np.testing.assert_array_equal(find_brain(image), expected)


def test_otsu_parts_two_heaps():
    rng = np.random.default_rng(0)
    threshold = otsu_threshold(np.concatenate([rng.normal(10, 2, 900), rng.normal(80, 5, 300)]))
    assert 16 < threshold < 66

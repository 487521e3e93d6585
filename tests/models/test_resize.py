import numpy as np
import pytest
from PIL import Image

from brainsynth_jax.models.resize import area_average


@pytest.mark.parametrize(("side", "size"), [(64, 32), (240, 60), (96, 32)])
def test_whole_ratios_agree_with_pillow(side, size):
    images = np.random.default_rng(0).normal(size=(2, side, side)).astype(np.float32)
    expected = [np.asarray(Image.fromarray(image).reduce(side // size)) for image in images]
    np.testing.assert_allclose(area_average(images[..., None], size)[..., 0], expected, atol=1e-5)


def test_a_pixel_on_a_border_counts_on_both_sides():
    column = np.array([1.0, 2.0, 4.0])
    image = np.tile(column[:, None], (1, 3))[None, ..., None]
    expected = np.array([(1 + 2 / 2) / 1.5, (2 / 2 + 4) / 1.5])
    np.testing.assert_allclose(area_average(image, 2)[0, :, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(area_average(image, 2)[0, 0, :, 0], expected[0], rtol=1e-6)


def test_means_are_kept_and_small_images_stay_as_they_are():
    images = np.random.default_rng(0).normal(size=(3, 100, 100, 2)).astype(np.float32)
    averaged = np.asarray(area_average(images, 96))
    assert averaged.shape == (3, 96, 96, 2)
    np.testing.assert_allclose(averaged.mean((1, 2)), images.mean((1, 2)), atol=1e-5)
    np.testing.assert_array_equal(area_average(images, 128), images)

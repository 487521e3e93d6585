import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from brainsynth_jax.evaluation.similarity import (
    SCALE_WEIGHTS,
    count_scales,
    ms_ssim,
    pairwise_ms_ssim,
    ssim,
)

BORDER = 5  # of places whose 11 x 11 window does not lie inside the image


def smooth_images(count, side, seed=0, sigma=2):
    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    smooth = gaussian_filter(noise, (0, sigma, sigma))
    return np.clip(smooth / smooth.std() / 2, -1, 1)[..., None].astype(np.float32)


def skimage_ssim_map(x, y):
    return structural_similarity(
        x,
        y,
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=2,
        sigma=1.5,
        full=True,
    )[1]


def skimage_ms_ssim(x, y, scales):
    """Of two (S, S) images: scikit-image's SSIM and contrast maps, put together as published.

    Its contrast map is SSIM over luminance, whose local means are a blur by the same window.
    """
    weights = np.array(SCALE_WEIGHTS[:scales]) / np.sum(SCALE_WEIGHTS[:scales])
    value = 1.0
    for scale, weight in enumerate(weights):
        similarity = skimage_ssim_map(x, y)
        if scale < scales - 1:
            mean_x, mean_y = (gaussian_filter(z, 1.5, truncate=3.5) for z in (x, y))
            similarity /= (2 * mean_x * mean_y + 0.0004) / (mean_x**2 + mean_y**2 + 0.0004)
        value *= similarity[BORDER:-BORDER, BORDER:-BORDER].mean() ** weight
        side = len(x) // 2 * 2
        x, y = (
            z[:side, :side].reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3)) for z in (x, y)
        )
    return value


@pytest.mark.parametrize(
    ("side", "scales"), [(11, 1), (21, 1), (22, 2), (32, 2), (64, 3), (128, 4), (176, 5), (256, 5)]
)
def test_every_scale_holds_the_window(side, scales):
    assert count_scales(side) == scales


@pytest.mark.parametrize("side", [11, 12, 32, 75, 128])
def test_ssim_agrees_with_scikit_image(side):
    first = smooth_images(3, side)
    second = np.clip(first + 0.3 * smooth_images(3, side, seed=1), -1, 1)
    expected = [
        skimage_ssim_map(np.float64(x), np.float64(y))[BORDER:-BORDER, BORDER:-BORDER].mean()
        for x, y in zip(first[..., 0], second[..., 0], strict=True)
    ]
    np.testing.assert_allclose(ssim(first, second), expected, rtol=1e-4)


@pytest.mark.parametrize("side", [21, 32, 75, 128, 180])
def test_ms_ssim_agrees_with_scikit_image(side):
    first = smooth_images(2, side)
    second = np.clip(first + 0.3 * smooth_images(2, side, seed=1), -1, 1)
    expected = [
        skimage_ms_ssim(np.float64(x), np.float64(y), count_scales(side))
        for x, y in zip(first[..., 0], second[..., 0], strict=True)
    ]
    np.testing.assert_allclose(ms_ssim(first, second), expected, rtol=1e-4)


@pytest.mark.parametrize("measure", [ssim, ms_ssim])
def test_equal_images_score_one_and_order_does_not_matter(measure):
    first, second = smooth_images(3, 64), smooth_images(3, 64, seed=1)
    np.testing.assert_allclose(measure(first, first), 1, atol=1e-5)
    np.testing.assert_allclose(measure(first, second), measure(second, first), rtol=1e-5)


def test_constant_images_differ_in_luminance_alone():
    low, high = (np.full((1, 32, 32, 1), level, np.float32) for level in (0.2, 0.6))
    luminance = (2 * 0.2 * 0.6 + 0.0004) / (0.2**2 + 0.6**2 + 0.0004)
    weight = SCALE_WEIGHTS[1] / sum(SCALE_WEIGHTS[:2])
    np.testing.assert_allclose(ssim(low, high), luminance, rtol=1e-4)
    np.testing.assert_allclose(ms_ssim(low, high), luminance**weight, rtol=1e-5)


def test_opposed_contrast_has_a_negative_ssim():
    board = 0.3 * (-1.0) ** np.indices((16, 16)).sum(axis=0)[None, ..., None]
    expected = (0.0036 - 2 * 0.3**2) / (0.0036 + 2 * 0.3**2)
    np.testing.assert_allclose(ssim(0.5 + board, 0.5 - board), expected, rtol=1e-4)


def test_negative_contrast_is_zero_and_no_nan():
    image = smooth_images(2, 64)
    np.testing.assert_array_equal(ms_ssim(image, -image), 0)


@pytest.mark.parametrize("measure", [ssim, ms_ssim])
def test_images_that_cannot_be_compared_are_refused(measure):
    with pytest.raises(ValueError, match="at least 11 pixels"):
        measure(jnp.zeros((1, 10, 10, 1)), jnp.zeros((1, 10, 10, 1)))
    with pytest.raises(ValueError, match="one shape"):
        measure(jnp.zeros((1, 16, 16, 1)), jnp.zeros((2, 16, 16, 1)))


def test_all_pairs_are_taken_where_there_are_no_more():
    images = smooth_images(4, 22)
    result = pairwise_ms_ssim(images, pairs=100, seed=0)
    first, second = np.triu_indices(4, k=1)
    assert result["mean"] == pytest.approx(float(ms_ssim(images[first], images[second]).mean()))
    assert (result["pairs"], result["images"]) == (6, 4)
    low, high = result["interval_95"]
    assert low <= result["mean"] <= high


def test_random_pairs_are_decided_by_the_seed():
    images = smooth_images(20, 22)
    result = pairwise_ms_ssim(images, pairs=40, seed=3)
    assert result == pairwise_ms_ssim(images, pairs=40, seed=3)
    assert result["pairs"] == 40
    assert result["mean"] != pairwise_ms_ssim(images, pairs=40, seed=4)["mean"]


def test_a_collapsed_set_has_alike_pairs():
    varied = smooth_images(20, 32)
    collapsed = varied[np.arange(20) % 2]
    alike = pairwise_ms_ssim(collapsed, pairs=200, seed=0)
    assert alike["mean"] > pairwise_ms_ssim(varied, pairs=200, seed=0)["mean"] + 0.3
    assert pairwise_ms_ssim(varied[[0, 0, 0]], pairs=9, seed=0)["mean"] == pytest.approx(1)


def test_pairs_of_few_subjects_are_less_certain_than_of_independent_images():
    of_subject = np.repeat(smooth_images(5, 32, seed=2), 6, axis=0)
    images = smooth_images(1, 32) + 0.5 * of_subject + 0.1 * smooth_images(30, 32, seed=1)
    subjects = np.repeat(list("abcde"), 6)
    real = pairwise_ms_ssim(images, 435, 0, subjects)
    low, high = real["interval_95"]
    naive_low, naive_high = pairwise_ms_ssim(images, 435, 0)["interval_95"]
    assert low < real["mean"] < high
    assert high - low > 1.3 * (naive_high - naive_low)


def test_pairs_are_of_different_subjects():
    images = smooth_images(3, 32)[[0, 0, 0, 1, 1, 2]]
    real = pairwise_ms_ssim(images, 100, 0, list("aaabbc"))
    assert real["pairs"] == 3 * 2 + 3 * 1 + 2 * 1
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    alone = np.asarray(ms_ssim(smooth_images(3, 32)[first], smooth_images(3, 32)[second]))
    assert real["mean"] == pytest.approx(alone @ [6, 3, 2] / 11, rel=1e-5)


def test_a_single_pair_has_no_interval():
    two = pairwise_ms_ssim(smooth_images(4, 32), 10, 0, list("aabb"))
    assert two["mean"] > 0
    assert two["interval_95"] is None


@pytest.mark.parametrize(("count", "subjects"), [(0, None), (1, None), (3, ["a"] * 3)])
def test_a_set_without_pairs_has_no_number(count, subjects):
    images = np.zeros((count, 32, 32, 1), np.float32)
    result = pairwise_ms_ssim(images, 10, 0, subjects)
    assert result == {"mean": None, "interval_95": None, "pairs": 0, "images": count}

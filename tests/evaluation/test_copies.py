import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from brainsynth_jax.evaluation.copies import nearest_distances, summarize_copies


def images(count, side=32, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    smooth = gaussian_filter(noise, (0, side / 16, side / 16))
    return np.clip(smooth / smooth.std() / 3, -1, 1)[..., None].astype(np.float32)


def patients(count, each, seed):
    """Slices of one patient are alike."""
    own = np.repeat(images(count, seed=seed), each, axis=0)
    return own + 0.3 * images(count * each, seed=seed + 1), np.repeat(np.arange(count), each)


def test_nearest_agrees_with_scipy():
    ours, references = images(300), images(50, seed=1)
    both = np.concatenate([references, references[:, :, ::-1]])
    expected = cdist(ours.reshape(300, -1), both.reshape(100, -1)) / 32
    distances, indices = nearest_distances(ours, references)
    np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(indices, expected.argmin(axis=1) % 50)


def test_large_images_are_averaged():
    ours, references = images(4, side=128), images(6, side=128, seed=1)
    coarse = [x.reshape(len(x), 32, 4, 32, 4, 1).mean(axis=(2, 4)) for x in (ours, references)]
    ours_large, ours_coarse = nearest_distances(ours, references), nearest_distances(*coarse)
    np.testing.assert_allclose(ours_large.distances, ours_coarse.distances, rtol=1e-5)
    np.testing.assert_array_equal(ours_large.indices, ours_coarse.indices)


def test_copies_and_mirrored_copies_are_at_zero():
    references = images(20)
    chosen = [3, 17, 8]
    for copies in (references[chosen], references[chosen][:, :, ::-1]):
        distances, indices = nearest_distances(copies, references)
        np.testing.assert_array_equal(distances, 0)
        np.testing.assert_array_equal(indices, chosen)


def test_distance_is_in_units_of_the_image():
    black, white = (np.full((2, 32, 32, 1), level, np.float32) for level in (-1, 1))
    np.testing.assert_array_equal(nearest_distances(black, white).distances, 2)


@pytest.mark.parametrize(
    ("ours", "references"),
    [(images(2), images(2)[:0]), (images(2)[:0], images(2)), (images(2), images(2, side=64))],
)
def test_what_cannot_be_compared_is_refused(ours, references):
    with pytest.raises(ValueError, match="Images of one size"):
        nearest_distances(ours, references)


def test_copies_are_flagged_and_fresh_patients_are_not():
    train, _ = patients(20, 10, seed=0)
    heldout, subjects = patients(10, 20, seed=100)
    fresh, _ = patients(15, 10, seed=200)
    heldout_distances = nearest_distances(heldout, train).distances
    noise = np.random.default_rng(0).normal(0, 0.05, size=train.shape).astype(np.float32)

    def summarize(samples):
        distances = nearest_distances(samples, train).distances
        return summarize_copies(distances, heldout_distances, subjects)

    for copies in (train, gaussian_filter(train, (0, 1, 1, 0)), train + noise):
        summary = summarize(copies)
        assert summary["copied"]
        assert summary["suspicious_share"] == 1
        assert summary["median_ratio"] < 0.5
    for samples in (fresh, gaussian_filter(fresh, (0, 1, 1, 0))):
        summary = summarize(samples)
        assert not summary["copied"]
        assert summary["suspicious_share"] == 0
    summary = summarize(fresh)
    assert summary["near_share"] <= 0.03
    assert summary["median_ratio"] == pytest.approx(1, abs=0.15)
    mixed = summarize(np.concatenate([fresh, train[:30]]))
    assert mixed["copied"]
    assert mixed["suspicious_share"] == pytest.approx(30 / 180)


def test_summary_by_hand():
    heldout = np.linspace(1, 2, 101)
    samples = np.array([0.7] + [1.0] + [1.5] * 8)
    assert summarize_copies(samples, heldout, ["a"] * 51 + ["b"] * 50) == pytest.approx(
        {
            "median": 1.5,
            "percentile_5": 0.7 + 0.45 * 0.3,
            "heldout_median": 1.5,
            "heldout_percentile_5": 1.05,
            "median_ratio": 1.0,
            "percentile_5_ratio": (0.7 + 0.45 * 0.3) / 1.05,
            "near": 1.005,
            "near_share": 0.2,
            "suspicious": 0.75375,
            "suspicious_share": 0.1,
            "copied": True,
            "samples": 10,
            "heldout": 101,
        }
    )


def test_the_nearest_held_out_subject_is_the_yardstick():
    """Subject b is nearer to training than a as a whole, and its like is no copy."""
    heldout = np.concatenate([np.linspace(2, 3, 101), np.linspace(1, 2, 11)])
    summary = summarize_copies(np.full(10, 1.1), heldout, ["a"] * 101 + ["b"] * 11)
    assert summary["near"] == pytest.approx(1.01)
    assert summary["near_share"] == 0
    assert not summary["copied"]


def test_too_few_images_give_no_number():
    summary = summarize_copies(np.ones(7), np.ones(30), ["a"] * 30)
    assert (summary.pop("samples"), summary.pop("heldout")) == (7, 30)
    assert set(summary.values()) == {None}


def test_heldout_slices_that_are_copies_themselves_are_no_yardstick():
    summary = summarize_copies(np.zeros(8), np.zeros(8), ["a", "b"] * 4)
    assert summary["median_ratio"] is None
    assert not summary["copied"]

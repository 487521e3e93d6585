from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from brainsynth_jax.evaluation import features
from brainsynth_jax.evaluation.distances import frechet_distance, kernel_distance
from brainsynth_jax.evaluation.features import (
    encoder_space,
    function_space,
    make_space,
    pca_space,
)


def brains(count, side=32, seed=0):
    """Discs of varied size and brightness, with texture, on a black background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side - 0.5
    size, level = rng.uniform(0.3, 0.42, count), rng.uniform(0.7, 1.1, count)
    disc = np.hypot(x, y)[None] < size[:, None, None]
    texture = gaussian_filter(rng.normal(size=(count, side, side)), (0, 1, 1))
    image = (level[:, None, None] + 0.5 * texture) * disc - 1
    return np.clip(image, -1, 1)[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def spaces():
    train = brains(20)
    return {
        "encoder": encoder_space(train, seed=0, steps=10, show_progress=False),
        "pca": pca_space(train, dimensions=8),
    }


@pytest.mark.parametrize("name", ["encoder", "pca"])
def test_space_tells_what_it_is(spaces, name):
    space = spaces[name]
    assert space.name == name
    assert "20 training slices" in space.recipe
    assert len(space.fingerprint) == 12
    assert space.dimensions == {"encoder": 240, "pca": 8}[name]
    assert space.extract(brains(3)).shape == (3, space.dimensions)


@pytest.mark.parametrize("name", ["encoder", "pca"])
def test_features_of_an_image_do_not_depend_on_its_company(spaces, name):
    images = brains(40, seed=1)
    together = spaces[name].extract(images)
    alone = np.concatenate([spaces[name].extract(images[k : k + 1]) for k in (0, 31, 39)])
    np.testing.assert_allclose(together[[0, 31, 39]], alone, atol=1e-3)


def test_encoder_features_of_the_training_images_are_standardised(spaces):
    features = spaces["encoder"].extract(brains(20))
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-3)
    assert np.quantile(features.std(axis=0), 0.1) == pytest.approx(1, abs=1e-3)


def test_pca_keeps_the_distances_of_what_it_was_fitted_on():
    train = brains(20)
    features = pca_space(train, dimensions=19).extract(train)
    pixels = train.reshape(20, -1)
    between = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (features, pixels)]
    np.testing.assert_allclose(between[0], between[1], atol=1e-3)
    np.testing.assert_allclose(np.cov(features.T), np.diag(features.var(axis=0, ddof=1)), atol=1e-3)


def test_fingerprint_follows_recipe_and_images(spaces):
    train, other = brains(20), brains(20, seed=1)
    assert pca_space(train, dimensions=8).fingerprint == spaces["pca"].fingerprint
    assert pca_space(train, dimensions=7).fingerprint != spaces["pca"].fingerprint
    assert pca_space(other, dimensions=8).fingerprint != spaces["pca"].fingerprint
    same, reseeded = (
        encoder_space(train, seed, steps=10, show_progress=False).fingerprint for seed in (0, 1)
    )
    assert same == spaces["encoder"].fingerprint != reseeded


def test_a_trained_encoder_is_kept_for_the_next_time(tmp_path, monkeypatch):
    train, fresh = brains(20), brains(5, seed=1)
    make = partial(encoder_space, train, 0, 2, show_progress=False, cache_dir=tmp_path)
    first = make().extract(fresh)
    (kept,) = tmp_path.rglob("*.npz")
    with monkeypatch.context() as patch:
        patch.setattr(features, "train_encoder", lambda *_, **__: pytest.fail("trained again"))
        np.testing.assert_array_equal(make().extract(fresh), first)
    for damaged in (kept.read_bytes()[:1000], b""):
        kept.write_bytes(damaged)
        np.testing.assert_array_equal(make().extract(fresh), first)


def means_and_ranges(images):
    return np.stack([images.mean(axis=(1, 2, 3)), np.ptp(images, axis=(1, 2, 3))], axis=1)


def test_a_function_of_ones_own_is_a_space_too():
    train, fresh = brains(20), brains(5, seed=1)
    space = function_space(train, "plain", "Mean and range", means_and_ranges)
    known = means_and_ranges(train)
    expected = (means_and_ranges(fresh) - known.mean(axis=0)) / known.std(axis=0)
    np.testing.assert_allclose(space.extract(fresh), expected, atol=1e-4)
    assert (space.name, space.dimensions) == ("plain", 2)
    assert space.recipe == "Mean and range, standardised on 20 training slices."
    other = [
        function_space(train, "plain", "Range and mean", means_and_ranges),
        function_space(brains(20, seed=1), "plain", "Mean and range", means_and_ranges),
        function_space(train, "plain", "Mean and range", means_and_ranges, b"weights"),
        function_space(train, "plain", "Mean and range", means_and_ranges, np.ones(3)),
    ]
    assert len({space.fingerprint, *(x.fingerprint for x in other)}) == 5
    again = function_space(train, "plain", "Mean and range", means_and_ranges)
    assert again.fingerprint == space.fingerprint


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda images: images.mean(axis=(1, 2, 3)), "got (20,)"),
        (lambda images: images[..., 0], "got (20, 32, 32)"),
        (lambda images: means_and_ranges(images)[:3], "got (3, 2)"),
        (lambda images: np.full((len(images), 2), np.nan), "40 numbers are not finite"),
    ],
)
def test_a_function_that_gives_no_vectors_is_refused(function, words):
    with pytest.raises(ValueError, match='Feature space "plain": one finite vector') as refused:
        function_space(brains(20), "plain", "", function)
    assert words in str(refused.value)


def test_of_too_few_images_components_are_taken():
    assert make_space(brains(5), seed=0).name == "pca"


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_encoder_space_sees_what_makes_images_worse(spaces, distance):
    extract = spaces["encoder"].extract
    real, fresh = extract(brains(100, seed=2)), brains(100, seed=3)
    rng = np.random.default_rng(0)

    def apart(images):
        return distance(extract(np.clip(images, -1, 1)), real)

    def rising(*changed):
        values = [apart(fresh), *map(apart, changed)]
        return all(low < high for low, high in pairwise(values))

    noise = rng.normal(size=fresh.shape).astype(np.float32)
    checkerboard = np.where(np.indices((32, 32)).sum(axis=0) % 2, 1, -1)[..., None]
    assert rising(*(gaussian_filter(fresh, (0, s, s, 0)) for s in (0.7, 1.5)))
    assert rising(fresh + 0.1 * noise, fresh + 0.3 * noise)
    assert rising(fresh + 0.05 * checkerboard, fresh + 0.2 * checkerboard)
    assert rising((fresh + 1) * 0.8 - 1, (fresh + 1) * 0.5 - 1)
    assert rising(fresh[np.arange(100) % 8], fresh[np.arange(100) % 2])

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import gaussian_filter

from brainsynth_jax.models.encoder import Encoder, Projection
from brainsynth_jax.training.encoder import (
    _ADAM,
    INVARIANCES,
    _create_params,
    _loss,
    _update,
    contrastive_loss,
    train_encoder,
)

KEY = jax.random.key(1)


def images(count=20, side=32, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    smooth = gaussian_filter(noise, (0, 2, 2))
    return np.clip(smooth / smooth.std() / 2, -1, 1)[..., None].astype(np.float32)


@lru_cache
def random_params():
    return jax.jit(Encoder().init)(jax.random.key(0), images(1))["params"]


@jax.jit
def encode(params, image):
    return Encoder().apply({"params": params}, image)


@pytest.mark.parametrize("side", [16, 100, 256])
def test_features_are_as_many_at_every_size(side):
    image = images(2, side)
    features = encode(random_params(), image)
    assert features.shape == (2, Encoder().dimensions) == (2, 240)
    assert np.isfinite(features).all()


def test_first_features_are_means_and_deviations_of_the_first_layer():
    image = images(2)
    params = {**random_params(), "kernel_0": np.zeros((4, 4, 2, 8), np.float32)}
    # The tap of row 1, column 1 in a padded window of stride 2: every second smoothed pixel.
    params["kernel_0"][1, 1, 0, 0] = 1
    features = encode(params, image)
    padded = np.pad(image[..., 0] + 1, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    smooth = ((rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4)[:, ::2, ::2]
    np.testing.assert_allclose(features[:, 0], smooth.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(features[:, 8], smooth.std((1, 2)), rtol=1e-4)


def test_gradients_of_a_flat_image_are_finite():
    image = np.full((2, 32, 32, 1), -1, np.float32)
    params = random_params()
    gradients = jax.jit(jax.grad(lambda params: encode(params, image).sum()))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_projections_have_length_one():
    features = np.random.default_rng(0).normal(size=(5, 240)).astype(np.float32)
    projection = Projection()
    params = projection.init(jax.random.key(0), features)
    lengths = jnp.linalg.norm(projection.apply(params, features), axis=-1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_contrastive_loss_is_optax_own():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 5))
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    embeddings, labels = np.concatenate([first, second]), np.tile(np.arange(6), 2)
    expected = optax.losses.ntxent(jnp.array(embeddings), jnp.array(labels), temperature=0.3)
    assert contrastive_loss(first, second, 0.3) == pytest.approx(float(expected), rel=1e-5)


def test_contrastive_loss_by_hand():
    views = np.eye(4)[:2]
    # Each finds its partner at cosine 1 among that and two at 0.
    expected = np.log(np.e**2 + 2) - 2
    assert contrastive_loss(views, views, 0.5) == pytest.approx(expected, rel=1e-5)


def test_updates_lower_the_loss():
    image = images()
    params = _create_params(KEY, image[:1])
    moments = _ADAM.init(params)
    views = np.concatenate([image, (image[:, :, ::-1] + 1) * 0.9 - 1])
    loss = jax.jit(_loss)
    before = loss(params, views)
    for step in range(40):
        params, moments = _update(params, moments, image, 2e-3, jax.random.fold_in(KEY, step))
    assert loss(params, views) < 0.7 * before


def test_same_arguments_same_weights():
    def train(seed):
        params = train_encoder(images(), seed=seed, steps=3, show_progress=False)
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])

    np.testing.assert_array_equal(train(0), train(0))
    assert (train(0) != train(1)).any()


def test_blur_and_noise_are_no_invariances():
    assert not {"blur", "noise"} & set(INVARIANCES)


def test_one_image_cannot_be_told_apart():
    with pytest.raises(ValueError, match="At least two images"):
        train_encoder(images(1), seed=0)

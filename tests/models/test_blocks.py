"""The layers' contracts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from brainsynth_jax.models import blocks


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def test_dropout_belongs_to_the_image_not_to_its_place():
    x = jnp.ones((4, 8, 8, 3))
    keys = jax.random.split(jax.random.key(0), 4)
    dropped = blocks.dropout(x, 0.5, keys, layer=1)
    np.testing.assert_array_equal(dropped[2:], blocks.dropout(x[2:], 0.5, keys[2:], layer=1))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert 0.4 < float((dropped == 0).mean()) < 0.6
    assert not np.array_equal(dropped, blocks.dropout(x, 0.5, keys, layer=2))
    np.testing.assert_array_equal(blocks.dropout(x, 0.5, None, layer=1), x)


def test_first_weights_are_those_of_flax():
    plain = nn.initializers.normal(0.02)
    key, shape = jax.random.key(5), (3, 3, 7, 11)
    np.testing.assert_array_equal(blocks.kernel_init(key, shape), plain(key, shape))


def test_conv_pads_by_reflection():
    layer = blocks.Conv(1, 3, padding_mode="reflect")
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[0, 0].set(1.0)  # reads the pixel up and to the left
    out = layer.apply({"params": {"kernel": kernel, "bias": jnp.zeros(1)}}, x)
    assert float(out[0, 0, 0, 0]) == 5.0


def test_pixel_shuffle_starts_as_a_convolution_and_a_resize():
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 3))
    layer = blocks.Upsample(4, method="pixel_shuffle")
    variables = layer.init(jax.random.key(1), x)
    out = layer.apply(variables, x)
    assert out.shape == (2, 10, 12, 4)
    kernel = variables["params"]["kernel"][..., :4]
    plain = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    resized = jnp.repeat(jnp.repeat(plain, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(out, resized, atol=1e-6)


def test_noise_belongs_to_an_image_and_has_the_deviation_asked_for():
    x = jnp.zeros((2, 50, 50, 4))
    keys = jax.random.split(jax.random.key(0), 2)
    noisy = blocks.add_noise(x, 0.3, keys, layer=1)
    assert float(noisy.std()) == pytest.approx(0.3, rel=0.03)
    np.testing.assert_array_equal(blocks.add_noise(x[1:], 0.3, keys[1:], layer=1), noisy[1:])
    assert not np.allclose(noisy, blocks.add_noise(x, 0.3, keys, layer=2))
    np.testing.assert_array_equal(blocks.add_noise(x, 0.3, None, layer=1), x)

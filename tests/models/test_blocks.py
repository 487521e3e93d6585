"""Each layer form against the plain operation of lax, and the layers' contracts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from brainsynth_jax.models import blocks


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def plain_conv(x, kernel, stride):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def assert_same_with_gradients(form, plain, x, kernel):
    np.testing.assert_allclose(form(x, kernel), plain(x, kernel), atol=2e-5, rtol=2e-5)

    def gradients(function):
        return jax.grad(lambda x, kernel: jnp.sum(jnp.sin(function(x, kernel))), (0, 1))(x, kernel)

    for ours, theirs in zip(gradients(form), gradients(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(
    ("size", "kernel_size", "channels", "features", "stride"),
    [
        (10, 4, 1, 5, 2),
        (10, 3, 1, 5, 2),
        (8, 4, 3, 6, 2),
        (12, 4, 6, 7, 2),
        (9, 7, 6, 1, 1),
        (9, 4, 8, 2, 1),
        (9, 7, 1, 6, 1),
        (9, 3, 3, 2, 1),
        (101, 3, 3, 2, 1),
        (9, 3, 6, 6, 1),
    ],
)
def test_conv_equals_lax(size, kernel_size, channels, features, stride):
    x = normal(0, 2, size, size + 2, channels)
    kernel = 0.2 * normal(1, kernel_size, kernel_size, channels, features)
    assert_same_with_gradients(
        lambda x, k: blocks.conv(x, k, stride), lambda x, k: plain_conv(x, k, stride), x, kernel
    )


@pytest.mark.parametrize(("kernel_size", "padding"), [(4, (2, 2)), (3, (1, 2))])
@pytest.mark.parametrize(("channels", "features"), [(6, 5), (6, 1), (1, 6)])
def test_conv_transpose_equals_lax(kernel_size, padding, channels, features):
    x = normal(0, 2, 5, 3, channels)
    kernel = 0.2 * normal(1, kernel_size, kernel_size, channels, features)
    assert_same_with_gradients(
        blocks.conv_transpose,
        lambda x, k: lax.conv_transpose(x, k, (2, 2), (padding, padding)),
        x,
        kernel,
    )


@pytest.mark.parametrize("features", [1, 6])
def test_resize_conv_is_nearest_neighbour_then_conv(features):
    x = normal(0, 2, 5, 3, 6)
    kernel = 0.2 * normal(1, 3, 3, 6, features)

    def plain(x, kernel):
        doubled = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return plain_conv(jnp.pad(doubled, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel, 1)

    assert_same_with_gradients(blocks.resize_conv, plain, x, kernel)


def test_a_constant_picture_shows_the_grid_of_deconv_but_not_of_resize():
    x = jnp.ones((1, 6, 6, 3))
    deconv = blocks.conv_transpose(x, normal(1, 4, 4, 3, 1))[0, 2:-2, 2:-2, 0]
    resized = blocks.resize_conv(x, normal(1, 3, 3, 3, 1))[0, 2:-2, 2:-2, 0]
    assert jnp.ptp(deconv) > 0.1
    assert jnp.ptp(resized) < 1e-5


def test_space_to_depth_and_back():
    x = normal(0, 2, 6, 4, 3)
    np.testing.assert_array_equal(blocks.depth_to_space(blocks.space_to_depth(x)), x)
    np.testing.assert_array_equal(blocks.space_to_depth(x)[0, 1, 1, 3:6], x[0, 2, 3])


def test_instance_norm_by_hand():
    x = jnp.array([1.0, 3.0, 5.0, 7.0]).reshape(1, 2, 2, 1)
    expected = (np.array([1.0, 3.0, 5.0, 7.0]) - 4.0) / np.sqrt(5.0 + 1e-5)
    np.testing.assert_allclose(blocks.instance_norm(x).ravel(), expected, rtol=1e-6)


def test_instance_norm_keeps_float32_statistics_in_bfloat16():
    x = (1000.0 + jnp.arange(64.0)).reshape(1, 8, 8, 1).astype(jnp.bfloat16)
    normed = blocks.instance_norm(x)
    assert normed.dtype == jnp.bfloat16
    assert abs(float(normed.astype(jnp.float32).mean())) < 0.01


def test_group_norm_is_flax_group_norm():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 12)) * 3 + 1
    other = nn.GroupNorm(4, epsilon=1e-5, use_bias=False, use_scale=False).apply({}, x)
    np.testing.assert_allclose(blocks.group_norm(x), other, atol=1e-5)
    one = blocks.group_norm(x.astype(jnp.bfloat16))
    assert one.dtype == jnp.bfloat16


def test_dropout_belongs_to_the_image_not_to_its_place():
    x = jnp.ones((4, 8, 8, 3))
    keys = jax.random.split(jax.random.key(0), 4)
    dropped = blocks.dropout(x, 0.5, keys, layer=1)
    np.testing.assert_array_equal(dropped[2:], blocks.dropout(x[2:], 0.5, keys[2:], layer=1))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert 0.4 < float((dropped == 0).mean()) < 0.6
    assert not np.array_equal(dropped, blocks.dropout(x, 0.5, keys, layer=2))
    np.testing.assert_array_equal(blocks.dropout(x, 0.5, None, layer=1), x)


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


def test_pixel_shuffle_sets_channels_beside_each_other():
    kernel = jnp.zeros((3, 3, 1, 4)).at[1, 1, 0].set(jnp.arange(4.0))
    out = blocks.pixel_shuffle_conv(jnp.ones((1, 1, 1, 1)), kernel)
    np.testing.assert_array_equal(out[0, :, :, 0], [[0, 1], [2, 3]])


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 2), (3, 2)])
@pytest.mark.parametrize("pixels", [4, 12, 40])
def test_convolutions_of_few_and_of_many_pixels_are_the_same_operation(size, stride, pixels):
    assert_same_with_gradients(
        lambda x, kernel: blocks.conv(x, kernel, stride),
        lambda x, kernel: plain_conv(x, kernel, stride),
        normal(0, 2, pixels, pixels, 5),
        0.1 * normal(1, size, size, 5, 7),
    )


def test_noise_belongs_to_an_image_and_has_the_deviation_asked_for():
    x = jnp.zeros((2, 50, 50, 4))
    keys = jax.random.split(jax.random.key(0), 2)
    noisy = blocks.add_noise(x, 0.3, keys, layer=1)
    assert float(noisy.std()) == pytest.approx(0.3, rel=0.03)
    np.testing.assert_array_equal(blocks.add_noise(x[1:], 0.3, keys[1:], layer=1), noisy[1:])
    assert not np.allclose(noisy, blocks.add_noise(x, 0.3, keys, layer=2))
    np.testing.assert_array_equal(blocks.add_noise(x, 0.3, None, layer=1), x)


def test_bilinear_convolution_is_doubling_and_convolution():
    x, kernel = normal(0, 2, 5, 6, 3), normal(1, 3, 3, 3, 4)
    bordered = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    doubled = jax.image.resize(bordered, (2, 18, 20, 3), "bilinear")
    expected = plain_conv(doubled[:, 3:-3, 3:-3], kernel, 1)
    np.testing.assert_allclose(blocks.bilinear_conv(x, kernel), expected, atol=2e-5)

"""Each form of a convolution against the plain operation of lax, and which is chosen."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsynth_jax.models import convolution
from brainsynth_jax.models.activation import leaky_relu, relu


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
        lambda x, k: convolution.conv(x, k, stride),
        lambda x, k: plain_conv(x, k, stride),
        x,
        kernel,
    )


@pytest.mark.parametrize(("kernel_size", "padding"), [(4, (2, 2)), (3, (1, 2))])
@pytest.mark.parametrize(("channels", "features"), [(6, 5), (6, 1), (1, 6)])
def test_conv_transpose_equals_lax(kernel_size, padding, channels, features):
    x = normal(0, 2, 5, 3, channels)
    kernel = 0.2 * normal(1, kernel_size, kernel_size, channels, features)
    assert_same_with_gradients(
        convolution.conv_transpose,
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

    assert_same_with_gradients(convolution.resize_conv, plain, x, kernel)


def test_a_constant_picture_shows_the_grid_of_deconv_but_not_of_resize():
    x = jnp.ones((1, 6, 6, 3))
    deconv = convolution.conv_transpose(x, normal(1, 4, 4, 3, 1))[0, 2:-2, 2:-2, 0]
    resized = convolution.resize_conv(x, normal(1, 3, 3, 3, 1))[0, 2:-2, 2:-2, 0]
    assert jnp.ptp(deconv) > 0.1
    assert jnp.ptp(resized) < 1e-5


def test_pixel_shuffle_sets_channels_beside_each_other():
    kernel = jnp.zeros((3, 3, 1, 4)).at[1, 1, 0].set(jnp.arange(4.0))
    out = convolution.pixel_shuffle_conv(jnp.ones((1, 1, 1, 1)), kernel)
    np.testing.assert_array_equal(out[0, :, :, 0], [[0, 1], [2, 3]])


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 2), (3, 2)])
@pytest.mark.parametrize("pixels", [4, 12, 40])
def test_convolutions_of_few_and_of_many_pixels_are_the_same_operation(size, stride, pixels):
    assert_same_with_gradients(
        lambda x, kernel: convolution.conv(x, kernel, stride),
        lambda x, kernel: plain_conv(x, kernel, stride),
        normal(0, 2, pixels, pixels, 5),
        0.1 * normal(1, size, size, 5, 7),
    )


def test_bilinear_convolution_is_doubling_and_convolution():
    x, kernel = normal(0, 2, 5, 6, 3), normal(1, 3, 3, 3, 4)
    bordered = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    doubled = jax.image.resize(bordered, (2, 18, 20, 3), "bilinear")
    expected = plain_conv(doubled[:, 3:-3, 3:-3], kernel, 1)
    np.testing.assert_allclose(convolution.bilinear_conv(x, kernel), expected, atol=2e-5)


@pytest.mark.parametrize("form", ["few_channels", "patches", "planes", "winograd"])
@pytest.mark.parametrize("size", [3, 4])
def test_every_form_is_the_same_operation(form, size):
    assert_same_with_gradients(
        convolution.FORMS[form],
        lambda x, kernel: plain_conv(x, kernel, 1),
        normal(0, 2, 14, 10, 5),
        0.1 * normal(1, size, size, 5, 3),
    )


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 2)])
def test_padding_is_that_of_numpy(mode, size, stride):
    assert_same_with_gradients(
        lambda x, kernel: convolution.conv(x, kernel, stride, 2, mode),
        lambda x, kernel: plain_conv(
            jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode), kernel, stride
        ),
        normal(0, 2, 14, 10, 5),
        0.1 * normal(1, size, size, 5, 7),
    )


def test_gradients_of_gradients_are_those_of_plain_forms():
    """As a gradient penalty takes them: with strides, taps, Winograd and few channels."""
    image = normal(0, 1, 36, 36, 2)
    shapes = ((4, 4, 2, 16), (3, 3, 16, 16), (3, 3, 16, 4), (4, 4, 4, 1))
    kernels = [0.2 * normal(number, *shape) for number, shape in enumerate(shapes)]

    def penalty(kernels, image):
        def score(image):
            x = leaky_relu(convolution.conv(image, kernels[0], 2, 1))
            x = relu(convolution.conv(x, kernels[1], 1, 1, "reflect"))
            x = leaky_relu(convolution.conv_transpose(x, kernels[2]))
            return convolution.conv(x, kernels[3]).sum()

        return jnp.square(jax.grad(score)(image)).sum()

    found = jax.grad(penalty)(kernels, image)
    with convolution.plain_forms():
        wanted = jax.grad(penalty)(kernels, image)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * jnp.abs(theirs).max())


@pytest.mark.parametrize("stride", [1, 2])
def test_an_image_of_infinities_spoils_no_other(stride):
    x = normal(0, 3, 8, 8, 5).at[0].set(jnp.inf)
    made = convolution.conv(x, normal(1, 3, 3, 5, 7), stride, 1)
    assert not np.isfinite(made[0]).all()
    assert np.isfinite(made[1:]).all()


@pytest.mark.parametrize(
    ("side", "kernel", "form"),
    [  # layers of the papers' networks
        (34, (4, 4, 256, 512), "winograd"),
        (66, (3, 3, 256, 256), "winograd"),
        (262, (7, 7, 64, 1), "few_channels"),
        (258, (3, 3, 3, 3), "planes"),
        (66, (3, 3, 4, 8), "plain"),
        (10, (3, 3, 512, 512), "patches"),
    ],
)
def test_a_layer_takes_the_form_that_was_measured_to_be_fastest(side, kernel, form):
    image = (1, side, side, kernel[2])
    assert convolution.choose_form(image, kernel, "float32") == form
    assert convolution.choose_form(image, kernel, "bfloat16") != "winograd"


def test_everything_is_plain_where_that_is_asked_for():
    x, kernel = normal(0, 1, 34, 34, 16), normal(1, 4, 4, 16, 16)
    for layer in (
        convolution.conv,
        partial(convolution.conv, stride=2),
        convolution.conv_transpose,
    ):
        fast = jax.make_jaxpr(lambda *args, layer=layer: layer(*args))(x, kernel)
        with convolution.plain_forms():
            plain = jax.make_jaxpr(lambda *args, layer=layer: layer(*args))(x, kernel)
        assert "custom_vjp" in str(fast)
        assert "custom_vjp" not in str(plain)

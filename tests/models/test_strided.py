"""Every form of the strided convolution's three products against lax and its own gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsynth_jax.models import strided
from brainsynth_jax.models.strided import double, halve, turn

SIZES = pytest.mark.parametrize("size", [3, 4])
TURNED = pytest.mark.parametrize("turned", [False, True])


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def plain_halve(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.fixture(params=[3, 4])
def case(request):
    """An image, a kernel, half-sized values, and what lax makes of them."""
    x, kernel = normal(0, 2, 12, 8, 5), normal(1, request.param, request.param, 5, 6)
    halved = normal(2, 2, 5, 3, 6)
    result, pull_back = jax.vjp(plain_halve, x, kernel)
    return x, kernel, halved, (result, *pull_back(halved))


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)


@TURNED
@pytest.mark.parametrize("form", list(strided.HALVING_FORMS))
def test_halving(case, form, turned):
    x, kernel, _, (halved, _, _) = case
    assert_close(strided.HALVING_FORMS[form](turned, x, turn(kernel) if turned else kernel), halved)


@TURNED
@pytest.mark.parametrize("form", list(strided.DOUBLING_FORMS))
def test_doubling_is_the_gradient_of_halving_for_its_image(case, form, turned):
    _, kernel, halved, (_, of_image, _) = case
    kernel = kernel if turned else turn(kernel)
    assert_close(strided.DOUBLING_FORMS[form](turned, halved, kernel), of_image)


@TURNED
@pytest.mark.parametrize("form", list(strided.GATHERING_FORMS))
def test_gathering_is_the_gradient_of_halving_for_its_kernel(case, form, turned):
    x, kernel, halved, (_, _, of_kernel) = case
    gathered = strided.GATHERING_FORMS[form](turned, x, halved, len(kernel))
    assert_close(gathered, turn(of_kernel) if turned else of_kernel)


@SIZES
@pytest.mark.parametrize("side", [4, 12])  # of few and of many pixels
@pytest.mark.parametrize(("channels", "features"), [(1, 6), (3, 6), (5, 6)])
def test_the_gradients_of_both(size, side, channels, features):
    x = normal(0, 2, 2 * side + 2, 2 * side + 2, channels)
    kernel = 0.2 * normal(1, size, size, channels, features)
    halved = normal(2, 2, side, side, features)

    def plain_double(x, kernel):
        shape = jax.ShapeDtypeStruct((*x.shape[:1], 2 * side + 2, 2 * side + 2, channels), x.dtype)
        return jax.linear_transpose(lambda image: plain_halve(image, turn(kernel)), shape)(x)[0]

    for ours, plain, arguments in (
        (halve, plain_halve, (x, kernel)),
        (double, plain_double, (halved, turn(kernel))),
    ):
        for form in (ours, plain):
            result, pull_back = jax.vjp(form, *arguments)
            found = (result, *pull_back(jnp.sin(result)))
            if form is ours:
                kept = found
        for a, b in zip(kept, found, strict=True):
            assert_close(a, b)


@SIZES
def test_gradients_of_gradients(size):
    """The gradient penalty needs them."""
    x, kernel = normal(0, 1, 10, 10, 3), 0.2 * normal(1, size, size, 3, 4)

    def penalty(form):
        def slope(kernel, x):
            return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(form(x, kernel))))(x) ** 2)

        return jax.grad(slope)(kernel, x)

    assert_close(penalty(halve), penalty(plain_halve))


def test_space_to_depth_and_back():
    x = normal(0, 2, 6, 4, 3)
    np.testing.assert_array_equal(strided.depth_to_space(strided.space_to_depth(x)), x)
    np.testing.assert_array_equal(strided.space_to_depth(x)[0, 1, 1, 3:6], x[0, 2, 3])

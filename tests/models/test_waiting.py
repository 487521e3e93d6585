import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.models.convolution import conv
from brainsynth_jax.models.waiting import compute_once, isolate, order_gradients, wait_for


def test_nothing_changes_but_the_order():
    x, other = jnp.array([1.5, -2.0]), jnp.ones((2, 3, 1))
    np.testing.assert_array_equal(jax.jit(wait_for)(other, x), x)
    of_other, of_x = jax.grad(lambda *both: jnp.sum(3 * wait_for(*both)), argnums=(0, 1))(other, x)
    np.testing.assert_array_equal(of_other, 0 * other)
    np.testing.assert_array_equal(of_x, [3, 3])


def test_random_keys_and_whole_numbers_wait_too():
    other, keys = -jnp.ones((2, 1)), jax.random.split(jax.random.key(3), 2)
    waited = jax.jit(wait_for)(other, keys)
    assert waited.dtype == keys.dtype
    np.testing.assert_array_equal(jax.random.key_data(waited), jax.random.key_data(keys))
    np.testing.assert_array_equal(
        jax.jit(wait_for)(other, jnp.uint32([0, 2**32 - 1])), [0, 2**32 - 1]
    )


def test_what_is_computed_once_stays_what_it_is():
    x = jnp.array([1.5, -2.0, 0.0])
    np.testing.assert_array_equal(jax.jit(compute_once)(x), x)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(3 * compute_once(x)))(x), [3, 3, 3])


def test_what_is_isolated_stays_what_it_is_and_each_image_by_itself():
    x = jnp.array([[1.5, -2.0], [jnp.inf, 3.0], [4.0, 5.0]]).reshape(3, 1, 2, 1)
    made = jax.jit(isolate)(x)
    np.testing.assert_array_equal(made[0], x[0])
    np.testing.assert_array_equal(made[2], x[2])
    np.testing.assert_array_equal(
        jax.grad(lambda x: jnp.sum(3 * isolate(x)))(x[:1]), jnp.full((1, 1, 2, 1), 3.0)
    )


def test_gradients_in_order_are_the_same_gradients():
    x, kernel = jnp.arange(6.0).reshape(1, 2, 3, 1), jnp.full((1, 1), 2.0)

    def layer(x, kernel, order):
        x, kernel = order(x, kernel)
        return jnp.square(x @ kernel).sum()

    for arguments in ((0, 1), 0, 1):
        found = jax.grad(layer, arguments)(x, kernel, order_gradients)
        wanted = jax.grad(layer, arguments)(x, kernel, lambda *operands: operands)
        jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_an_image_that_has_no_gradient_is_not_waited_for():
    """Else the first layer of a network would have to make its image's gradient."""

    def layer(kernel, image):
        images, kernel = order_gradients((image, kernel[None]), kernel)
        return (sum(images) * kernel).sum()

    made = str(jax.make_jaxpr(jax.grad(layer))(jnp.ones((3, 3)), jnp.ones((1, 3, 3))))
    assert made.count("tanh") == 1


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="CPU's compiler only")
def test_an_update_overwrites_the_weights_without_a_copy_of_them():
    """XLA copies a weight that it cannot tell to be used no more when it is overwritten."""

    def score(kernels, image):
        for kernel in kernels:
            image = conv(image, kernel, padding=1)
        return jnp.square(image).sum()

    def update(kernels, image):
        gradients = jax.grad(score)(kernels, image)
        return jax.tree.map(lambda kernel, gradient: kernel - gradient, kernels, gradients)

    kernels = [jnp.ones((3, 3, 8, 8))] * 4  # too small for Winograd's form
    image = jnp.ones((1, 12, 12, 8))  # and too large for the form of patches
    compiled = jax.jit(update, donate_argnums=0).lower(kernels, image).compile()
    assert "copy(%kernels" not in compiled.as_text()

import jax
import jax.numpy as jnp
import numpy as np

from brainsynth_jax.models.waiting import isolate, wait_for


def test_nothing_changes_but_the_order():
    x, other = jnp.array([1.5, -2.0]), jnp.ones((2, 3, 1))
    np.testing.assert_array_equal(jax.jit(wait_for)(other, x), x)
    of_other, of_x = jax.grad(lambda *both: jnp.sum(3 * wait_for(*both)), argnums=(0, 1))(other, x)
    np.testing.assert_array_equal(of_other, 0 * other)
    np.testing.assert_array_equal(of_x, [3, 3])


def test_what_is_isolated_stays_what_it_is_and_each_image_by_itself():
    x = jnp.array([[1.5, -2.0], [jnp.inf, 3.0], [4.0, 5.0]]).reshape(3, 1, 2, 1)
    made = jax.jit(isolate)(x)
    np.testing.assert_array_equal(made[0], x[0])
    np.testing.assert_array_equal(made[2], x[2])
    np.testing.assert_array_equal(
        jax.grad(lambda x: jnp.sum(3 * isolate(x)))(x[:1]), jnp.full((1, 1, 2, 1), 3.0)
    )

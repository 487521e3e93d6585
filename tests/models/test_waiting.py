import jax
import jax.numpy as jnp
import numpy as np

from brainsynth_jax.models.waiting import wait_for


def test_nothing_changes_but_the_order():
    x, other = jnp.array([1.5, -2.0]), jnp.ones((2, 3, 1))
    np.testing.assert_array_equal(jax.jit(wait_for)(other, x), x)
    of_other, of_x = jax.grad(lambda *both: jnp.sum(3 * wait_for(*both)), argnums=(0, 1))(other, x)
    np.testing.assert_array_equal(of_other, 0 * other)
    np.testing.assert_array_equal(of_x, [3, 3])

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.models.random_bits import unrolled


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5, 2), (300, 300)])
def test_the_bits_are_jaxs_own(shape):
    key = jax.random.key(3)
    for draw in (jax.random.bits, jax.random.normal, jax.random.uniform):
        np.testing.assert_array_equal(draw(unrolled(key), shape), draw(key, shape))


def test_each_key_of_a_batch_draws_its_own():
    keys = jax.random.split(jax.random.key(0), 4)

    @jax.jit
    def draw(keys):
        return jax.vmap(lambda key: jax.random.normal(key, (6, 5)))(keys)

    drawn = draw(unrolled(keys))
    np.testing.assert_array_equal(drawn, draw(keys))
    np.testing.assert_array_equal(drawn[2], jax.random.normal(keys[2], (6, 5)))


def test_keys_made_of_it_are_jaxs_own():
    key = jax.random.key(0)
    for child, wanted in zip(jax.random.split(unrolled(key)), jax.random.split(key), strict=True):
        np.testing.assert_array_equal(jax.random.key_data(child), jax.random.key_data(wanted))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_shorter_numbers_are_jaxs_too(dtype):
    key = jax.random.key(5)
    np.testing.assert_array_equal(
        jax.random.normal(unrolled(key), (8, 3), dtype), jax.random.normal(key, (8, 3), dtype)
    )


def test_another_kind_of_key_stays_what_it_is():
    key = jax.random.key(0, impl="rbg")
    assert unrolled(key).dtype == key.dtype

import jax
import jax.numpy as jnp
import numpy as np

from brainsynth_jax.training.image_pool import create_image_pool, swap_with_pool


def numbered(first, count):
    """Images of shape (1, 1, 1) that hold their own number."""
    return jnp.arange(first, first + count, dtype=jnp.float32).reshape(count, 1, 1, 1)


def test_a_pool_that_is_not_full_stores_and_shows_each_fake():
    pool, shown = swap_with_pool(create_image_pool(4, (1, 1, 1)), numbered(1, 3), jax.random.key(0))
    np.testing.assert_array_equal(shown, numbered(1, 3))
    assert int(pool.count) == 3
    np.testing.assert_array_equal(pool.images.ravel(), [1, 2, 3, 0])


def test_a_full_pool_swaps_half_of_the_time_and_loses_no_image():
    pool, _ = swap_with_pool(create_image_pool(5, (1, 1, 1)), numbered(0, 5), jax.random.key(0))
    pool, shown = jax.jit(swap_with_pool)(pool, numbered(5, 400), jax.random.key(1))
    shown = np.asarray(shown).ravel()
    past = shown != np.arange(5, 405)
    assert 150 < past.sum() < 250
    assert (shown[past] < np.arange(5, 405)[past]).all(), "a past fake is older than the new one"
    stored = np.asarray(pool.images).ravel()
    assert len(set(stored) | set(shown[past])) == 5 + past.sum(), "each was stored or shown once"
    assert int(pool.count) == 5


def test_a_batch_passes_one_by_one():
    """A batch of fakes meets the pool as if its images had come in single steps."""
    pool = create_image_pool(2, (1, 1, 1))
    pool, shown = swap_with_pool(pool, numbered(1, 6), jax.random.key(3))
    reference, expected = [], []
    for number, key in enumerate(jax.random.split(jax.random.key(3), 6), start=1):
        coin_key, slot_key = jax.random.split(key)
        if len(reference) < 2:
            reference.append(number)
            expected.append(number)
        elif jax.random.bernoulli(coin_key):
            slot = int(jax.random.randint(slot_key, (), 0, 2))
            expected.append(reference[slot])
            reference[slot] = number
        else:
            expected.append(number)
    np.testing.assert_array_equal(shown.ravel(), expected)
    np.testing.assert_array_equal(pool.images.ravel(), reference)


def test_a_pool_of_size_zero_shows_every_fake():
    pool, shown = swap_with_pool(create_image_pool(0, (1, 1, 1)), numbered(1, 3), jax.random.key(0))
    np.testing.assert_array_equal(shown, numbered(1, 3))
    assert pool.images.shape == (0, 1, 1, 1)

"""A pool of past fakes, so that a discriminator does not forget what it has seen.

Shrivastava et al., 2017 (arXiv 1612.07828), section 2.3, as CycleGAN uses it.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax


@struct.dataclass
class ImagePool:
    """Past fakes of one domain.

    Attributes:
        images: (size, H, W, C) float32; only the first `count` are filled.
        count: () int32.
    """

    images: Array
    count: Array


def create_image_pool(size: int, image_shape: tuple[int, ...]) -> ImagePool:
    """An empty pool for `size` images of shape (H, W, C)."""
    return ImagePool(jnp.zeros((size, *image_shape)), jnp.zeros((), jnp.int32))


def swap_with_pool(pool: ImagePool, fakes: Array, key: Array) -> tuple[ImagePool, Array]:
    """Passes fakes through the pool, one after the other.

    While the pool is not full, a fake is stored and shown. Afterwards, with probability 1/2, it
    takes the place of a past one, which is shown instead; otherwise it is shown and not stored.

    Args:
        pool: of size 0 to show every fake as it is.
        fakes: (N, H, W, C).
        key: one random key for the batch.

    Returns:
        The new pool and the (N, H, W, C) images to show the discriminator.
    """
    size = pool.images.shape[0]
    if size == 0:
        return pool, fakes

    def show(pool: ImagePool, fake_and_key: tuple[Array, Array]) -> tuple[ImagePool, Array]:
        fake, key = fake_and_key
        coin_key, slot_key = jax.random.split(key)
        full = pool.count == size
        swap = full & jax.random.bernoulli(coin_key)
        slot = jnp.where(full, jax.random.randint(slot_key, (), 0, size), pool.count)
        past = pool.images[slot]
        images = pool.images.at[slot].set(jnp.where(full & ~swap, past, fake))
        count = jnp.minimum(pool.count + 1, size)
        return ImagePool(images, count), jnp.where(swap, past, fake)

    return lax.scan(show, pool, (fakes, jax.random.split(key, fakes.shape[0])))

"""Random changes that a discriminator meets on real and generated images alike.

Zhao et al., 2020 (arXiv 2006.10738): as the generator's gradient passes through them, it does not
learn to draw the changes themselves, and a discriminator of few images cannot learn these by
heart. All keep a background of -1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

_SHIFT = 1 / 8  # of the image's side, at most, up, down, left and right
_CONTRAST = 0.2  # brightness above the background is multiplied by 0.8 to 1.2
_CUTOUT = 1 / 2  # the side of the square that is blanked, of the image's side


def _shift(image: Array, key: Array) -> Array:
    """Moves by whole pixels; a product with a shifted identity is fast on every device."""
    side = image.shape[0]
    reach = round(side * _SHIFT)
    offsets = jax.random.randint(key, (2,), -reach, reach + 1)
    places = jnp.arange(side)
    rows, columns = (
        (places[:, None] + offset == places[None, :]).astype(image.dtype) for offset in offsets
    )
    return jnp.einsum("ij,jkc,lk->ilc", rows, image + 1, columns) - 1


def _flip(image: Array, key: Array) -> Array:
    """Mirrors left and right, the only mirroring that a brain nearly bears."""
    del key  # whether to flip is all that is random
    return image[:, ::-1]


def _intensity(image: Array, key: Array) -> Array:
    factor = jax.random.uniform(key, (), minval=1 - _CONTRAST, maxval=1 + _CONTRAST)
    return (image + 1) * factor - 1


def _cutout(image: Array, key: Array) -> Array:
    """Blanks a square whose centre is anywhere in the image."""
    side = image.shape[0]
    centre = jax.random.randint(key, (2,), 0, side)
    near = jnp.abs(jnp.arange(side)[None] - centre[:, None]) <= side * _CUTOUT / 2
    inside = near[0][:, None] & near[1][None, :]
    return jnp.where(inside[..., None], -1.0, image)


_CHANGES = {"shift": _shift, "flip": _flip, "intensity": _intensity, "cutout": _cutout}
AUGMENTATIONS = tuple(_CHANGES)


def augment(images: Array, kinds: Sequence[str], strength: Array | float, keys: Array) -> Array:
    """Changes each image by each of the kinds with a probability.

    Args:
        images: (N, S, S, C), background -1.
        kinds: some of `AUGMENTATIONS`, applied in this order.
        strength: the probability of each kind in each image, 0 to 1. "flip" has half of it.
        keys: (N,) random keys, one an image.
    """

    def change(image: Array, key: Array) -> Array:
        for number, kind in enumerate(kinds):
            coin_key, own_key = jax.random.split(jax.random.fold_in(key, number))
            share = strength / 2 if kind == "flip" else strength
            changed = _CHANGES[kind](image, own_key)
            image = jnp.where(jax.random.bernoulli(coin_key, share), changed, image)
        return image

    return jax.vmap(change)(images, keys) if kinds else images

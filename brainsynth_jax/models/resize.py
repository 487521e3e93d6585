"""Pictures at another resolution."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def area_average(images: Array, size: int) -> Array:
    """Each new pixel is the mean of the area that it covers.

    Any ratio of sizes will do: a pixel on a border counts on both sides by its share. Images that
    are no larger than asked for are returned as they are.

    Args:
        images: (N, S, S, C).
        size: side of the result in pixels.

    Returns:
        (N, min(S, size), min(S, size), C).
    """
    side = images.shape[1]
    if side <= size:
        return jnp.asarray(images)
    shares = area_shares(side, size)
    return jnp.einsum("ri,nijc,sj->nrsc", shares, images, shares, precision=lax.Precision.HIGHEST)


def area_shares(side: int, size: int) -> np.ndarray:
    """(size, side) float32, rows of sum 1: how much of each new pixel each old one is."""
    edges = np.arange(size + 1) * side / size
    begins = np.maximum(edges[:-1, None], np.arange(side))
    ends = np.minimum(edges[1:, None], np.arange(1, side + 1))
    return (np.clip(ends - begins, 0, None) * size / side).astype(np.float32)

"""The adversarial and reconstruction terms of both papers, each a scalar from arrays.

Every term is a mean over all its elements, so that values do not depend on batch or image size.
"""

import jax.numpy as jnp
from jax import Array


def least_squares_real(scores: Array) -> Array:
    """mean((1 - D(x))^2): how far scores are from "real" (CycleGAN paper, equation 6).

    A discriminator minimises it on real images, a generator on its own (Mao et al., 2017, arXiv
    1611.04076).

    Args:
        scores: any shape, unbounded; 1 means real.
    """
    return jnp.mean(jnp.square(1.0 - scores))


def least_squares_fake(scores: Array) -> Array:
    """mean(D(G(x))^2): how far scores are from "made" (CycleGAN paper, equation 7).

    Args:
        scores: any shape, unbounded; 0 means made.
    """
    return jnp.mean(jnp.square(scores))


def mean_absolute_error(image: Array, other: Array) -> Array:
    """mean|image - other|, the L1 norm of the cycle loss (CycleGAN paper, equation 4).

    Args:
        image: any shape.
        other: the same shape.
    """
    return jnp.mean(jnp.abs(image - other))

"""Normalisation within an image, without parameters."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from brainsynth_jax.models.waiting import wait_for


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def instance_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """Zero mean and unit variance over H and W, for each image and channel.

    Statistics are float32 whatever the type of `x` (Ulyanov et al., 2016, arXiv 1607.08022).

    Args:
        x: (N, H, W, C).
        epsilon: keeps the root away from 0.
    """
    return _standardise(x, *_measure(x, epsilon)).astype(x.dtype)


def _measure(x: Array, epsilon: float) -> tuple[Array, Array]:
    """Mean and 1 / standard deviation, (N, 1, 1, C) float32."""
    wide = x.astype(jnp.float32)
    mean = _average(wide)
    return mean, lax.rsqrt(_average(jnp.square(wide - mean)) + epsilon)


def _standardise(x: Array, mean: Array, scale: Array) -> Array:
    return (x.astype(jnp.float32) - mean) * scale


def _average(x: Array) -> Array:
    """(N, H, W, C) -> (N, 1, 1, C).

    Without the barrier YNNPACK would lay each average of several images out for all of their
    pixels, and that would be kept for the gradient.
    """
    return lax.optimization_barrier(x.mean((1, 2), keepdims=True))


# With the derived rule XLA keeps the image as it was and standardised; the latter is quickly made
# again.


def _instance_norm_forward(x: Array, epsilon: float) -> tuple[Array, tuple[Array, Array, Array]]:
    statistics = _measure(x, epsilon)
    return _standardise(x, *statistics).astype(x.dtype), (x, *statistics)


def _instance_norm_backward(
    epsilon: float, kept: tuple[Array, Array, Array], gradient: Array
) -> tuple[Array]:
    x, mean, scale = kept
    made = _standardise(wait_for(gradient, x), mean, scale)
    wide = gradient.astype(jnp.float32)
    wide -= _average(wide) + made * _average(wide * made)
    return ((scale * wide).astype(x.dtype),)


instance_norm.defvjp(_instance_norm_forward, _instance_norm_backward)


def group_norm(x: Array, groups: int = 4, epsilon: float = 1e-5) -> Array:
    """Standardises each image's groups of neighbouring channels together, without a scale.

    Wu and He, 2018 (arXiv 1803.08494), equation 7. Unlike the instance norm it keeps how bright
    one channel of a group is beside another.

    Args:
        x: (N, H, W, C).
        groups: a divisor of C.
        epsilon: keeps the root away from 0.
    """
    grouped = x.reshape(*x.shape[:-1], groups, -1).astype(jnp.float32)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = jnp.square(grouped - mean).mean(axis=(1, 2, 4), keepdims=True)
    return ((grouped - mean) * lax.rsqrt(variance + epsilon)).reshape(x.shape).astype(x.dtype)

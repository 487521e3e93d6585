"""Normalisation within an image or over a batch."""

from collections.abc import Callable
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
    return standardise(x, *_measure(_average_image, x), epsilon).astype(x.dtype)


def _measure(average: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    """Mean and variance, float32."""
    wide = x.astype(jnp.float32)
    mean = average(wide)
    return mean, average(jnp.square(wide - mean))


def standardise(x: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    """`x` by the given mean and variance, float32."""
    return (x.astype(jnp.float32) - mean) * lax.rsqrt(variance + epsilon)


def _average_image(x: Array) -> Array:
    """(N, H, W, C) -> (N, 1, 1, C).

    Without the barrier YNNPACK would lay each average of several images out for all of their
    pixels, and that would be kept for the gradient.
    """
    return lax.optimization_barrier(x.mean((1, 2), keepdims=True))


# With the derived rule XLA keeps the image as it was and standardised; the latter is quickly made
# again.


def _instance_norm_forward(x: Array, epsilon: float) -> tuple[Array, tuple[Array, Array, Array]]:
    statistics = _measure(_average_image, x)
    return standardise(x, *statistics, epsilon).astype(x.dtype), (x, *statistics)


def _instance_norm_backward(
    epsilon: float, kept: tuple[Array, Array, Array], gradient: Array
) -> tuple[Array]:
    x, mean, variance = kept
    made = standardise(wait_for(gradient, x), mean, variance, epsilon)
    wide = gradient.astype(jnp.float32)
    wide -= _average_image(wide) + made * _average_image(wide * made)
    return ((lax.rsqrt(variance + epsilon) * wide).astype(x.dtype),)


instance_norm.defvjp(_instance_norm_forward, _instance_norm_backward)


def batch_norm(
    x: Array, scale: Array, bias: Array, epsilon: float = 1e-5, axis_name: str | None = None
) -> tuple[Array, Array, Array]:
    """Zero mean and unit variance over all axes but the last, then scaled and shifted.

    Statistics are float32 whatever the type of `x` (Ioffe and Szegedy, 2015, arXiv 1502.03167).

    Args:
        x: (N, ..., C).
        scale: (C,).
        bias: (C,).
        epsilon: keeps the root away from 0.
        axis_name: of the device axis over which statistics are taken too, or None.

    Returns:
        What became of `x`, float32; its mean and variance, (C,), which have no gradient.
    """
    made, mean, variance = _batch_norm(epsilon, axis_name, x, scale, bias)
    return made, lax.stop_gradient(mean), lax.stop_gradient(variance)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _batch_norm(
    epsilon: float, axis_name: str | None, x: Array, scale: Array, bias: Array
) -> tuple[Array, Array, Array]:
    mean, variance = _measure(partial(_average_devices, axis_name), x)
    return standardise(x, mean, variance, epsilon) * scale + bias, mean, variance


def _average_devices(axis_name: str | None, x: Array) -> Array:
    """(N, ..., C) -> (C,), over the device axis too."""
    return _mean_over_devices(axis_name, _average_batch(x))


def _average_batch(x: Array) -> Array:
    """(N, ..., C) -> (C,), with the barrier of `_average_image`."""
    return lax.optimization_barrier(x.mean(range(x.ndim - 1)))


def _mean_over_devices(axis_name: str | None, x: Array) -> Array:
    return x if axis_name is None else lax.pmean(x, axis_name)


def _batch_norm_forward(
    epsilon: float, axis_name: str | None, x: Array, scale: Array, bias: Array
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array, Array]]:
    mean, variance = _measure(partial(_average_devices, axis_name), x)
    made = standardise(x, mean, variance, epsilon) * scale + bias
    return (made, mean, variance), (x, scale, mean, variance)


def _batch_norm_backward(
    epsilon: float,
    axis_name: str | None,
    kept: tuple[Array, Array, Array, Array],
    gradients: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:
    x, scale, mean, variance = kept
    gradient, *_ = gradients
    made = standardise(wait_for(gradient, x), mean, variance, epsilon)
    pixels = x.size // x.shape[-1]
    averages = _average_batch(gradient), _average_batch(gradient * made)
    of_bias, of_scale = (pixels * average for average in averages)
    shift, slope = (_mean_over_devices(axis_name, average) for average in averages)
    of_x = scale * lax.rsqrt(variance + epsilon) * (gradient - shift - made * slope)
    return of_x.astype(x.dtype), of_scale, of_bias


_batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


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

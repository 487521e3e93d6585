"""Activations whose gradient is told from what they gave.

Where the next layer keeps what an activation gave, the derived rules would also keep what it was
given. On a CPU layers that are given the activation itself keep neither (`blocks.Conv`).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

_LEAK = 0.2


def relu(x: Array) -> Array:
    """The larger of `x` and 0."""
    return _rectify(0.0, x)


def leaky_relu(x: Array) -> Array:
    """Leaky ReLU of slope 0.2, the one both papers' networks use."""
    return _rectify(_LEAK, x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rectify(slope: float, x: Array) -> Array:
    return jnp.where(x > 0, x, _scale(slope, x))


def _scale(slope: float, x: Array) -> Array:
    """0 for a slope of 0, also where `x` is infinite."""
    return slope * x if slope else jnp.zeros_like(x)


def _rectify_forward(slope: float, x: Array) -> tuple[Array, Array]:
    made = _rectify(slope, x)
    return made, made


def _rectify_backward(slope: float, made: Array, gradient: Array) -> tuple[Array]:
    return (jnp.where(made > 0, gradient, _scale(slope, gradient)),)


_rectify.defvjp(_rectify_forward, _rectify_backward)

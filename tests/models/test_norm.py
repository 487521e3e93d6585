"""Norms, against hand calculation, Flax and derived gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from brainsynth_jax.models.norm import group_norm, instance_norm


def test_instance_norm_by_hand():
    x = jnp.array([1.0, 3.0, 5.0, 7.0]).reshape(1, 2, 2, 1)
    expected = (np.array([1.0, 3.0, 5.0, 7.0]) - 4.0) / np.sqrt(5.0 + 1e-5)
    np.testing.assert_allclose(instance_norm(x).ravel(), expected, rtol=1e-6)


def test_instance_norm_keeps_float32_statistics_in_bfloat16():
    x = (1000.0 + jnp.arange(64.0)).reshape(1, 8, 8, 1).astype(jnp.bfloat16)
    normed = instance_norm(x)
    assert normed.dtype == jnp.bfloat16
    assert abs(float(normed.astype(jnp.float32).mean())) < 0.01


def test_group_norm_is_flax_group_norm():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 12)) * 3 + 1
    other = nn.GroupNorm(4, epsilon=1e-5, use_bias=False, use_scale=False).apply({}, x)
    np.testing.assert_allclose(group_norm(x), other, atol=1e-5)
    one = group_norm(x.astype(jnp.bfloat16))
    assert one.dtype == jnp.bfloat16


def test_the_gradient_of_instance_norm_is_the_derived_one():
    def derived(x):
        x = x - x.mean((1, 2), keepdims=True)
        return x / jnp.sqrt(jnp.square(x).mean((1, 2), keepdims=True) + 1e-5)

    x, weights = jax.random.normal(jax.random.key(0), (2, 2, 6, 5, 3)) * 2 + 1

    def gradient(norm, x):
        return jax.grad(lambda x: jnp.vdot(norm(x), weights))(x)

    def gradient_of_gradient(norm, x):
        return jax.grad(lambda x: jnp.square(gradient(norm, x)).sum())(x)

    np.testing.assert_allclose(gradient(instance_norm, x), gradient(derived, x), atol=1e-6)
    np.testing.assert_allclose(
        gradient_of_gradient(instance_norm, x), gradient_of_gradient(derived, x), atol=1e-5
    )

"""Norms, against hand calculation, Flax and derived gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from brainsynth_jax.models.blocks import BatchNorm
from brainsynth_jax.models.norm import batch_norm, group_norm, instance_norm


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


def test_batch_norm_is_flax_batch_norm_with_its_gradients():
    x, weights = jax.random.normal(jax.random.key(0), (2, 4, 6, 5, 3)) * 2 + 1
    ours = BatchNorm(False, momentum=0.9, epsilon=2e-5)
    theirs = nn.BatchNorm(False, momentum=0.9, epsilon=2e-5)
    variables = theirs.init(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(
        jnp.shape, variables
    )
    params = {"scale": jnp.array([0.5, -1.0, 2.0]), "bias": jnp.array([1.0, 0.0, -3.0])}

    def score(norm, params, x):
        made, moved = norm.apply(variables | {"params": params}, x, mutable=["batch_stats"])
        return jnp.vdot(made, weights), (made, moved)

    def differentiate(norm):
        gradient = jax.grad(score, argnums=(1, 2), has_aux=True)

        def slope(x):
            return jnp.square(jax.grad(score, argnums=2, has_aux=True)(norm, params, x)[0]).sum()

        return gradient(norm, params, x), jax.grad(slope)(x)

    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5),
        differentiate(ours),
        differentiate(theirs),
    )


def test_batch_norm_takes_what_is_stored_where_it_is_told_to():
    x = jnp.array([[1.0], [4.0]])
    variables = {
        "params": {"scale": jnp.array([3.0]), "bias": jnp.array([0.5])},
        "batch_stats": {"mean": jnp.array([2.0]), "var": jnp.array([4.0])},
    }
    norm = BatchNorm(True, momentum=0.9, epsilon=0.0)
    np.testing.assert_allclose(norm.apply(variables, x), [[-1.0], [3.5]])


def test_batch_norm_over_two_devices_is_that_of_all_their_images():
    x, weights = jax.random.normal(jax.random.key(0), (2, 2, 3, 4, 4, 2))
    scale, bias = jnp.array([0.5, 2.0]), jnp.zeros(2)

    def score(x, weights, axis_name=None):
        made, *statistics = batch_norm(x, scale, bias, axis_name=axis_name)
        return jnp.vdot(made, weights), statistics

    gradient = jax.grad(score, has_aux=True)
    each, statistics = jax.pmap(partial(gradient, axis_name="devices"), "devices")(x, weights)
    all_of_them, wanted = gradient(*(jnp.concatenate(part) for part in (x, weights)))
    np.testing.assert_allclose(jnp.concatenate(each), all_of_them, atol=1e-5)
    for ours, other in zip(statistics, wanted, strict=True):
        np.testing.assert_allclose(ours[0], other, atol=1e-6)

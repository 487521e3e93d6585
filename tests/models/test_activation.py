"""Activations, against Flax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from brainsynth_jax.models.activation import leaky_relu, relu


@pytest.mark.parametrize(
    ("ours", "flax"),
    [(relu, nn.relu), (leaky_relu, partial(nn.leaky_relu, negative_slope=0.2))],
)
def test_values_and_gradients_are_flaxs(ours, flax):
    x = jnp.array([-jnp.inf, -3.0, -1e-20, 1e-20, 0.5, 7.0])
    np.testing.assert_array_equal(ours(x), flax(x))
    (made, pull_back), (wanted, derived) = jax.vjp(ours, x), jax.vjp(flax, x)
    gradient = jnp.array([jnp.inf, 2.0, 3.0, 4.0, 5.0, 6.0])
    np.testing.assert_array_equal(pull_back(gradient), derived(gradient))
    np.testing.assert_array_equal(made, wanted)
    assert ours(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_the_gradient_at_0_is_that_of_the_negative_side():
    assert jax.grad(relu)(0.0) == 0.0
    assert jax.grad(leaky_relu)(0.0) == pytest.approx(0.2)

"""How many images a layer keeps for its gradient, by what XLA sets aside."""

import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads

from brainsynth_jax.models.activation import leaky_relu
from brainsynth_jax.models.convolution import conv
from brainsynth_jax.models.norm import instance_norm

SIDE, CHANNELS = 64, 16


def measure_memory(layers, images):
    """Bytes beside the images, the weights and their gradients."""

    def loss(kernels, x):
        for kernel in kernels:
            x = conv(x, kernel, padding=1, padding_mode="reflect", prepare=leaky_relu)
            x = instance_norm(x)
        return jnp.square(x).sum()

    image = jnp.zeros((images, SIDE, SIDE, CHANNELS))
    kernels = [jnp.zeros((3, 3, CHANNELS, CHANNELS))] * layers
    compiled = jax.jit(jax.grad(loss)).lower(kernels, image).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("images", [1, 16])
def test_a_layer_keeps_only_what_was_convolved(images):
    """Not what was standardised, activated, padded, or transformed by Winograd.

    Nor a mean of each channel for every pixel, which XLA would make for several images.
    """
    image = images * SIDE * SIDE * CHANNELS * 4
    assert (measure_memory(10, images) - measure_memory(4, images)) / 6 < 1.2 * image


def test_gradients_of_a_layer_are_those_of_finite_differences():
    image = jax.random.normal(jax.random.key(0), (1, 18, 18, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 4))

    def layer(kernel, image):
        return instance_norm(conv(image, kernel, padding=1, padding_mode="reflect"))

    check_grads(layer, (kernel, image), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)

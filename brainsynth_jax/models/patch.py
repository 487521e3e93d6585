"""The patch discriminator: judges overlapping 70x70 patches, real or made."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from brainsynth_jax.models.activation import leaky_relu
from brainsynth_jax.models.blocks import Conv
from brainsynth_jax.models.norm import instance_norm


class PatchDiscriminator(nn.Module):
    """Four convolutions and one with a single output channel (CycleGAN paper, section 3.2).

    Isola et al., 2017 (arXiv 1611.07004): 4x4 kernels, stride 2 three times and then 1; no norm on
    the first and last layer.

    Attributes:
        width: channels of the first layer, 64 as published; every other layer scales with it.
        dtype: type of the products.
    """

    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """(N, H, W, 1) -> float32 scores (N, H/8 - 2, W/8 - 2, 1); near 1 is taken for real."""
        conv = partial(Conv, kernel_size=4, dtype=self.dtype)
        later = partial(conv, activation=leaky_relu)
        normed = partial(later, use_bias=False)
        x = conv(self.width, stride=2)(image)
        x = instance_norm(normed(2 * self.width, stride=2)(x))
        x = instance_norm(normed(4 * self.width, stride=2)(x))
        x = instance_norm(normed(8 * self.width)(x))
        return later(1)(x).astype(jnp.float32)

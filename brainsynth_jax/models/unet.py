"""The U-Net generator: detail crosses from encoder to decoder by concatenation."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from brainsynth_jax.errors import UserError
from brainsynth_jax.models.activation import leaky_relu, relu
from brainsynth_jax.models.blocks import Conv, Upsample, dropout
from brainsynth_jax.models.norm import instance_norm

HALVINGS = 8


def check_image_size(image_size: int) -> None:
    """Raises UserError unless images of this height and width can be halved eight times."""
    multiple = 2**HALVINGS
    if image_size < multiple or image_size % multiple:
        raise UserError(
            f"--image_size={image_size}: the U-Net halves an image {HALVINGS} times, so its size "
            f"must be a multiple of {multiple} ({multiple}, {2 * multiple}, ...). Choose one of "
            "these, or --generator=resnet, which takes multiples of 8."
        )


class UnetGenerator(nn.Module):
    """Eight halvings and eight doublings with concatenated skips (CycleGAN paper, section 3.4).

    Isola et al., 2017 (arXiv 1611.07004) as CycleGAN uses it: 4x4 kernels; instance norm except on
    the first, innermost and last layer; the paper's 50 % dropout in decoder layers 1 to 3.

    Attributes:
        width: channels of the first layer, 64 as published; every other layer scales with it.
        upsample: "deconv" as published, or "resize".
        dropout_rate: of decoder layers 1 to 3.
        dtype: type of the products.
        bounded: whether the output is in [-1, 1], by tanh; else it is what tanh would be given.
    """

    width: int = 64
    upsample: str = "deconv"
    dropout_rate: float = 0.5
    dtype: Any = jnp.float32
    bounded: bool = True

    @nn.compact
    def __call__(self, image: Array, keys: Array | None = None) -> Array:
        """Translates images.

        Args:
            image: (N, H, W, 1) in [-1, 1]; H and W multiples of 256.
            keys: (N,) random keys, one an image, for dropout; None switches it off.

        Returns:
            (N, H, W, 1) float32, in [-1, 1] where `bounded`.
        """
        down = partial(Conv, kernel_size=4, stride=2, dtype=self.dtype)
        up = partial(Upsample, method=self.upsample, activation=relu, dtype=self.dtype)

        x = down(self.width)(image)  # (N, H/2, W/2, width)
        skips = [x]
        for level in range(1, HALVINGS):  # ... (N, H/256, W/256, 8 width)
            innermost = level == HALVINGS - 1
            features = self.width * min(2**level, 8)
            x = down(features, use_bias=innermost, activation=leaky_relu)(x)
            if not innermost:
                x = instance_norm(x)
                skips.append(x)

        joined = (x,)
        for level in reversed(range(HALVINGS - 1)):  # ... (N, H/2, W/2, 2 width)
            x = instance_norm(up(self.width * min(2**level, 8), use_bias=False)(*joined))
            layer = HALVINGS - 1 - level
            if layer <= 3:
                x = dropout(x, self.dropout_rate, keys, layer)
            joined = (skips[level], x)
        x = up(1)(*joined).astype(jnp.float32)
        return jnp.tanh(x) if self.bounded else x  # (N, H, W, 1)

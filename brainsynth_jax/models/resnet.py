"""The ResNet generator: nine residual blocks between two halvings and two doublings."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from brainsynth_jax.errors import UserError
from brainsynth_jax.models.activation import relu
from brainsynth_jax.models.blocks import Conv, Upsample
from brainsynth_jax.models.norm import instance_norm


def check_image_size(image_size: int) -> None:
    """Raises UserError unless the ResNet and the patch discriminator can take such images."""
    if image_size < 24 or image_size % 8:
        raise UserError(
            f"--image_size={image_size}: the discriminator beside the ResNet halves an image three "
            "times, so the size must be a multiple of 8, at least 24. Choose such a size."
        )


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3, reflection padding."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, H, W, C) -> (N, H, W, C)."""
        conv = partial(
            Conv,
            x.shape[-1],
            kernel_size=3,
            padding_mode="reflect",
            use_bias=False,
            dtype=self.dtype,
        )
        y = instance_norm(conv()(x))
        return x + instance_norm(conv(activation=relu)(y))


class ResnetGenerator(nn.Module):
    """Encoder, residual blocks, decoder (CycleGAN paper, section 3.3).

    Johnson et al., 2016 (arXiv 1603.08155) as CycleGAN uses it for 256x256 images.

    Attributes:
        width: channels of the first layer, 64 as published; every other layer scales with it.
        blocks: residual blocks, 9 as published.
        upsample: "deconv" as published, or "resize".
        dtype: type of the products.
        bounded: whether the output is in [-1, 1], by tanh; else it is what tanh would be given.
    """

    width: int = 64
    blocks: int = 9
    upsample: str = "deconv"
    dtype: Any = jnp.float32
    bounded: bool = True

    @nn.compact
    def __call__(self, image: Array, keys: Array | None = None) -> Array:
        """Translates images.

        Args:
            image: (N, H, W, 1) in [-1, 1]; H and W multiples of 4.
            keys: taken for the same call as the U-Net's; this network draws nothing.

        Returns:
            (N, H, W, 1) float32, in [-1, 1] where `bounded`.
        """
        del keys
        wide = partial(Conv, kernel_size=7, padding=3, padding_mode="reflect", dtype=self.dtype)
        down = partial(
            Conv, kernel_size=3, stride=2, use_bias=False, activation=relu, dtype=self.dtype
        )
        up = partial(
            Upsample, kernel_size=3, method=self.upsample, use_bias=False, dtype=self.dtype
        )

        x = instance_norm(wide(self.width, use_bias=False)(image))  # (N, H, W, width)
        x = instance_norm(down(2 * self.width)(x))
        x = relu(instance_norm(down(4 * self.width)(x)))  # (N, H/4, W/4, 4 width)
        for _ in range(self.blocks):
            x = ResidualBlock(dtype=self.dtype)(x)
        x = instance_norm(up(2 * self.width)(x))
        x = instance_norm(up(self.width, activation=relu)(x))  # (N, H, W, width)
        x = wide(1, activation=relu)(x).astype(jnp.float32)
        return jnp.tanh(x) if self.bounded else x  # (N, H, W, 1)

"""The DCGAN's networks: a latent vector becomes a slice, a slice becomes a score.

Radford et al., 2016 (arXiv 1511.06434), in the form of the DCGAN paper's Tables I and II, which
the defaults are. Batch norm follows the paper's framework: moving averages of decay 0.9, epsilon
2e-5, no learned scale in the discriminator. It is followed by no bias of its own layer's making:
the norm would subtract it again.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from brainsynth_jax.errors import UserError
from brainsynth_jax.models.activation import leaky_relu, relu
from brainsynth_jax.models.blocks import (
    BatchNorm,
    Conv,
    Upsample,
    add_noise,
    dropout,
    kernel_init,
)

ACTIVATIONS = {"relu": relu, "leaky_relu": leaky_relu, "elu": nn.elu}
# What the discriminator's ninth convolution may have instead.
LAST_ACTIVATIONS = {"sigmoid": nn.sigmoid, "tanh": jnp.tanh} | ACTIVATIONS
# A sigmoid's 0 to 1 is stretched to the images' -1 to 1.
OUTPUTS = {"tanh": jnp.tanh, "sigmoid": lambda x: 2 * nn.sigmoid(x) - 1}
NORMS = ("batch", "layer", "none")
BATCH_NORM_DECAY = 0.9
_BATCH_NORM_EPSILON = 2e-5

# Pixels of an image to each that the discriminator ends with.
TOTAL_STRIDE = 64
_FIRST_SIZE = 4


def check_image_size(image_size: int) -> None:
    """Raises UserError unless images of this side can be doubled up to and halved six times."""
    if image_size < TOTAL_STRIDE or image_size & (image_size - 1):
        below = max(TOTAL_STRIDE, 1 << (image_size.bit_length() - 1))
        raise UserError(
            f"--image_size={image_size}: the DCGAN doubles 4x4 until the image is full, so its "
            f"size must be a power of two from {TOTAL_STRIDE}. Choose {below} or {2 * below}."
        )


class DcganGenerator(nn.Module):
    """Latent -> dense -> 4x4 -> doublings -> 3x3 convolution (DCGAN paper, Table I).

    Attributes:
        image_size: height and width of the images, 256 as published; smaller ones have fewer
            doublings.
        width: channels at half the image's size, 32 as published; twice as many at each size
            before (1,024 at 4x4).
        channels: of the images, 3 equal ones as published.
        activation: of the doublings, a key of `ACTIVATIONS`.
        output: a key of `OUTPUTS`.
        upsample: one of `blocks.UPSAMPLINGS`.
        dropout_rate: after the dense layer and each doubling.
        last_layer: whether a 3x3 convolution follows the last doubling, which then has batch norm,
            activation and dropout as the others have.
        axis_name: of the device axis over which batch norm takes its statistics, None for each
            device its own.
        dtype: type of the products.
    """

    image_size: int = 256
    width: int = 32
    channels: int = 3
    activation: str = "leaky_relu"
    output: str = "tanh"
    upsample: str = "deconv"
    dropout_rate: float = 0.5
    last_layer: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, keys: Array | None = None, train: bool = False) -> Array:
        """Draws images.

        Args:
            latent: (N, latent size).
            keys: (N,) random keys, one an image, for dropout; None switches it off.
            train: whether batch norm uses the batch's own statistics, which mixes its images, and
                moves the stored ones ("batch_stats"); else it uses the stored ones.

        Returns:
            (N, S, S, channels) float32 in [-1, 1].
        """
        norm = partial(
            BatchNorm,
            not train,
            momentum=BATCH_NORM_DECAY,
            epsilon=_BATCH_NORM_EPSILON,
            axis_name=self.axis_name,
        )
        up = partial(Upsample, method=self.upsample, dtype=self.dtype)
        activation = ACTIVATIONS[self.activation]

        doublings = (self.image_size // _FIRST_SIZE).bit_length() - 1
        features = self.width * 2 ** (doublings - 1)
        dense = nn.Dense(_FIRST_SIZE**2 * features, use_bias=False, kernel_init=kernel_init)
        x = dropout(norm()(dense(latent)), self.dropout_rate, keys, 0)
        x = x.reshape(-1, _FIRST_SIZE, _FIRST_SIZE, features)  # (N, 4, 4, 32 width)
        for layer in range(1, doublings):  # ... (N, S/2, S/2, width)
            features //= 2
            x = activation(norm()(up(features, use_bias=False)(x)))
            x = dropout(x, self.dropout_rate, keys, layer)
        if self.last_layer:
            x = activation(norm()(up(self.channels, use_bias=False)(x)))
            x = dropout(x, self.dropout_rate, keys, doublings)
            x = Conv(self.channels, kernel_size=3, dtype=self.dtype)(x)
        else:
            x = up(self.channels)(x)
        return OUTPUTS[self.output](x.astype(jnp.float32))  # (N, S, S, channels)


class DcganDiscriminator(nn.Module):
    """Nine convolutions and a dense layer (DCGAN paper, Table II).

    Attributes:
        width: channels of the first layer, 32 as published; every other layer scales with it.
        activation: of the first eight convolutions, a key of `ACTIVATIONS`.
        last_activation: of the ninth, a key of `LAST_ACTIVATIONS`.
        norm: of every convolution but the first. "batch" as published, "layer" (over each image by
            itself) or "none".
        noise_std: of the Gaussian noise on the image and on what goes into each activation.
        spectral_norm: whether each kernel is divided by its largest singular value (Miyato et al.,
            2018, arXiv 1802.05957).
        axis_name: as of `DcganGenerator`.
        dtype: type of the products.
    """

    width: int = 32
    activation: str = "relu"
    last_activation: str = "sigmoid"
    norm: str = "batch"
    noise_std: float = 0.2
    spectral_norm: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array, keys: Array | None = None, train: bool = False) -> Array:
        """Scores images.

        Args:
            image: (N, S, S, C) in [-1, 1].
            keys: (N,) random keys, one an image, for noise; None switches it off.
            train: whether batch norm uses the batch's own statistics, and whether it and spectral
                norm move the stored ones ("batch_stats").

        Returns:
            (N,) float32, unbounded; higher is more real.
        """

        def apply(layer: nn.Module, x: Array) -> Array:
            return nn.SpectralNorm(layer)(x, update_stats=train) if self.spectral_norm else layer(x)

        def normalise(x: Array) -> Array:
            if self.norm == "batch":
                return BatchNorm(
                    not train,
                    momentum=BATCH_NORM_DECAY,
                    epsilon=_BATCH_NORM_EPSILON,
                    use_scale=False,
                    axis_name=self.axis_name,
                )(x)
            return nn.GroupNorm(1, use_scale=False)(x) if self.norm == "layer" else x

        widest = self.width * 32
        layers = (  # channels, stride, kernel
            (self.width, 2, 4),  # (N, S/2, S/2, width)
            (self.width * 2, 2, 4),
            (self.width * 4, 2, 4),
            (self.width * 156 // 32, 2, 4),
            (self.width * 156 // 32, 1, 3),  # (N, S/16, S/16, 156 as printed)
            (widest // 2, 2, 4),
            (widest // 2, 1, 3),
            (widest, 2, 4),
            (widest, 1, 3),  # (N, S/64, S/64, 32 width)
        )
        x = add_noise(image, self.noise_std, keys, 0)
        for number, (features, stride, size) in enumerate(layers, start=1):
            first = number == 1
            biased = first or self.norm == "none"
            conv = Conv(features, size, stride, use_bias=biased, dtype=self.dtype)
            x = apply(conv, x)
            x = add_noise(x if first else normalise(x), self.noise_std, keys, number)
            last = number == len(layers)
            x = LAST_ACTIVATIONS[self.last_activation if last else self.activation](x)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        return apply(nn.Dense(1, kernel_init=kernel_init), x)[:, 0]

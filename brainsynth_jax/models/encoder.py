"""The network by whose features sets of images are compared."""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from brainsynth_jax.models.activation import leaky_relu, relu
from brainsynth_jax.models.convolution import conv
from brainsynth_jax.models.resize import area_average

# Images are compared at this many pixels a side, or at as many as they have.
LARGEST_SIDE = 128
_HALVINGS = 4

# Real slices hold little power at the finest scale; this brings it to the size of the rest.
_DETAIL_GAIN = 4.0

# He et al., 2015 (arXiv 1502.01852); a normal draw would take XLA seconds to compile.
_kernel_init = nn.initializers.he_uniform()


class Encoder(nn.Module):
    """Four convolutions of stride 2; each layer's channels tell their mean and their spread.

    Two bands are seen, the smoothed image and the detail that the smoothing took: without the
    second one noise and blur are lost beside the brain's brightness. As features, mean and standard
    deviation over the image, of every channel of every layer, hold texture at four scales but not
    where it is; the deepest layer sees 46 pixels at once. There is no norm: it would hide contrast.

    Attributes:
        widths: channels of the four layers.
    """

    widths: tuple[int, ...] = (8, 16, 32, 64)

    @property
    def dimensions(self) -> int:
        """The number of features."""
        return 2 * sum(self.widths)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """(N, S, S, 1) in [-1, 1], S at least 16 -> (N, dimensions).

        S is first brought down by area to a multiple of 16, at most 128.
        """
        least = 2**_HALVINGS
        x = area_average(images, min(images.shape[1], LARGEST_SIDE) // least * least) + 1
        smooth = _smooth(x)
        x = jnp.concatenate([smooth, _DETAIL_GAIN * (x - smooth)], axis=-1)
        features = []
        for layer, width in enumerate(self.widths):
            shape = (4, 4, x.shape[-1], width)
            kernel = self.param(f"kernel_{layer}", _kernel_init, shape)
            bias = self.param(f"bias_{layer}", nn.initializers.zeros, (width,))
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            x = leaky_relu(conv(x, kernel, stride=2) + bias)
            # The gradient of a root is infinite at 0, where a channel is flat.
            features += [x.mean((1, 2)), jnp.sqrt(x.var((1, 2)) + 1e-6)]
        return jnp.concatenate(features, axis=-1)


class Projection(nn.Module):
    """The head on which the contrastive loss is taken; thrown away after training.

    Attributes:
        width: of the hidden layer.
        dimensions: of the unit vectors that it gives.
    """

    width: int = 64
    dimensions: int = 32

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """(N, D) -> (N, dimensions), of length 1. Features are standardised over the batch."""
        x = (features - features.mean(0)) / (features.std(0) + 1e-3)
        x = relu(nn.Dense(self.width, kernel_init=_kernel_init)(x))
        x = nn.Dense(self.dimensions, kernel_init=_kernel_init)(x)
        return x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


def _smooth(x: Array) -> Array:
    """The binomial window (1, 2, 1) / 4 along rows and columns; the border is repeated."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    return (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4

"""The layers that every network of the project is made of.

Images are (N, H, W, C). Parameters have the standard shapes: a kernel is (height, width, in, out),
a bias (out,), both float32; `dtype` is the type in which a layer multiplies. How a convolution is
computed is decided in `convolution`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from brainsynth_jax.models.convolution import (
    bilinear_conv,
    conv,
    conv_transpose,
    pixel_shuffle_conv,
    resize_conv,
)
from brainsynth_jax.models.norm import batch_norm, standardise
from brainsynth_jax.models.random_bits import draw_normal, unrolled

UPSAMPLINGS = ("deconv", "resize", "bilinear", "pixel_shuffle")

# Types in which the layers may multiply.
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

# Both papers state or imply it: weights start from normal(0, 0.02), as in CycleGAN and DCGAN.
_draw_kernel = nn.initializers.normal(0.02)


def kernel_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The first weights of a kernel of `shape`."""
    return _draw_kernel(unrolled(key), shape, dtype)


def _pixel_shuffle_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The same weights for the four pixels of a block: at first it draws no grid.

    Aitken et al., 2017 (arXiv 1707.02937): this start equals a convolution followed by a
    nearest-neighbour resize.
    """
    return jnp.tile(kernel_init(key, (*shape[:-1], shape[-1] // 4), dtype), 4)


def dropout(x: Array, rate: float, keys: Array | None, layer: int) -> Array:
    """Zeroes each value with probability `rate` and scales the rest by 1 / (1 - rate).

    Args:
        x: (N, ...).
        rate: in [0, 1).
        keys: (N,) random keys, one an image, so that an image meets the same mask wherever in a
            batch or on whichever device it is; None switches dropout off.
        layer: tells the layers of one network apart.
    """
    if keys is None or rate == 0.0:
        return x

    def keep(key: Array) -> Array:
        key = unrolled(jax.random.fold_in(key, layer))
        return jax.random.bernoulli(key, 1.0 - rate, x.shape[1:])

    return jnp.where(jax.vmap(keep)(keys), x / (1.0 - rate), 0.0).astype(x.dtype)


def add_noise(x: Array, std: float, keys: Array | None, layer: int) -> Array:
    """Adds Gaussian noise (Arjovsky and Bottou, 2017, arXiv 1701.04862).

    Args:
        x: (N, ...).
        std: standard deviation of the noise.
        keys: (N,) random keys, one an image; None switches noise off.
        layer: tells the layers of one network apart.
    """
    if keys is None or std == 0.0:
        return x

    keys = jax.vmap(lambda key: jax.random.fold_in(key, layer))(keys)
    return x + std * draw_normal(keys, x.shape[1:], x.dtype)


class BatchNorm(nn.Module):
    """Batch norm of all axes but the last (Ioffe and Szegedy, 2015, arXiv 1502.03167).

    Flax's, with the same variables, but for a rule for its gradient that keeps one image less.

    Attributes:
        use_running_average: whether it takes the stored statistics, not those of its batch.
        momentum: of the stored statistics' moving average.
        epsilon: keeps the root away from 0.
        use_scale: whether channels have a learned scale; a learned bias they have always.
        axis_name: of the device axis over which statistics are taken, None for each device its own.
    """

    use_running_average: bool
    momentum: float
    epsilon: float
    use_scale: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, ..., C) -> float32, the same shape."""
        channels = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        variance = self.variable("batch_stats", "var", jnp.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        scale = jnp.ones(channels)
        if self.use_scale:
            scale = self.param("scale", nn.initializers.ones, channels)
        if self.use_running_average:
            return standardise(x, mean.value, variance.value, self.epsilon) * scale + bias
        axis_name = None if self.is_initializing() else self.axis_name
        x, its_mean, its_variance = batch_norm(x, scale, bias, self.epsilon, axis_name)
        if not self.is_initializing():
            decay = self.momentum
            mean.value = decay * mean.value + (1 - decay) * its_mean
            variance.value = decay * variance.value + (1 - decay) * its_variance
        return x


Activation = Callable[[Array], Array]


def _preparation(activation: Activation | None, dtype: Any) -> Callable[[Sequence[Array]], Array]:
    """What a layer multiplies: the images, after the activation, their channels side by side."""

    def prepare(images: Sequence[Array]) -> Array:
        if activation is not None:
            images = [activation(image) for image in images]
        x = images[0] if len(images) == 1 else jnp.concatenate(images, axis=-1)
        return x.astype(dtype)

    return prepare


class Conv(nn.Module):
    """Padded convolution.

    Attributes:
        features: output channels.
        kernel_size: height and width of the kernel.
        stride: 1 or 2.
        padding: pixels added on each side.
        padding_mode: "constant" (zeros) or "reflect".
        use_bias: False before an instance norm, which would subtract the bias again: its gradient
            is rounding noise, and Adam would make full-sized steps of that.
        activation: of what the layer is given, before its padding; None for none. In the layer
            rather than before it, it costs no memory.
        dtype: type of the products.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: int = 1
    padding_mode: str = "constant"
    use_bias: bool = True
    activation: Activation | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, H, W, C) -> (N, H', W', features)."""
        size = self.kernel_size
        kernel = self.param("kernel", kernel_init, (size, size, x.shape[-1], self.features))
        x = conv(
            (x,),
            kernel.astype(self.dtype),
            self.stride,
            self.padding,
            self.padding_mode,
            _preparation(self.activation, self.dtype),
        )
        if self.use_bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return x


class Upsample(nn.Module):
    """Doubles height and width by a learned convolution.

    Attributes:
        features: output channels.
        kernel_size: of the transposed convolution, 3 or 4; the others' is always 3x3.
        method: "deconv" (transposed convolution), "resize" (nearest neighbour + convolution),
            "bilinear" (the same, smoother) or "pixel_shuffle" (sub-pixel convolution, which starts
            as convolution + resize).
        use_bias: as of `Conv`.
        activation: as of `Conv`.
        dtype: type of the products.
    """

    features: int
    kernel_size: int = 4
    method: str = "deconv"
    use_bias: bool = True
    activation: Activation | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *images: Array) -> Array:
        """(N, H, W, C), one image or several whose channels add up -> (N, 2H, 2W, features)."""
        form, size, features, init = {
            "deconv": (conv_transpose, self.kernel_size, self.features, kernel_init),
            "resize": (resize_conv, 3, self.features, kernel_init),
            "bilinear": (bilinear_conv, 3, self.features, kernel_init),
            "pixel_shuffle": (pixel_shuffle_conv, 3, 4 * self.features, _pixel_shuffle_init),
        }[self.method]
        channels = sum(image.shape[-1] for image in images)
        kernel = self.param("kernel", init, (size, size, channels, features))
        prepare = _preparation(self.activation, self.dtype)
        x = form(images, kernel.astype(self.dtype), prepare)
        if self.use_bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return x

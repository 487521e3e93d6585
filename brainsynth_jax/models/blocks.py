"""The layers that every network of the project is made of.

Images are (N, H, W, C). Parameters have the standard shapes: a kernel is (height, width, in, out),
a bias (out,), both float32; `dtype` is the type in which a layer multiplies. Which *form* computes
a layer is decided here and nowhere else: XLA on a CPU is up to 25 times slower at gradients of
transposed and of one-channel convolutions than at those of plain ones, so these are written as
plain convolutions or matrix products on rearranged pixels. The numbers are the same.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

UPSAMPLINGS = ("deconv", "resize", "bilinear", "pixel_shuffle")

# Types in which the layers may multiply.
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

# Both papers state or imply it: weights start from normal(0, 0.02), as in CycleGAN and DCGAN.
kernel_init = nn.initializers.normal(0.02)

# Below this many channels a plain convolution leaves the processor's vector units empty.
_FEW_CHANNELS = 4
# Up to so many output pixels, a plain convolution's gradients take up to 50 times longer than those
# of the matrix product, whose gathered windows are small then.
_FEW_PIXELS = 100
# From so many pixels, a convolution of few to few channels is three times faster weight by weight,
# which with fewer only takes longer to compile.
_MANY_PIXELS = 10_000


def space_to_depth(x: Array) -> Array:
    """(N, 2H, 2W, C) -> (N, H, W, 4C): each 2x2 block of pixels becomes one pixel's channels."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def depth_to_space(x: Array) -> Array:
    """(N, H, W, 4C) -> (N, 2H, 2W, C): the inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, 2, 2, c // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def _plain_conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_by_windows(x: Array, kernel: Array) -> Array:
    """Gathers the kernel's window as channels, then one matrix product."""
    kh, kw, _, features = kernel.shape
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    windows = [x[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)]
    return jnp.concatenate(windows, axis=-1) @ kernel.reshape(-1, features)


def _conv_to_few_channels(x: Array, kernel: Array) -> Array:
    """Multiplies by the taps of one kernel row at a time as output channels, then adds shifted."""
    kh, kw, channels, features = kernel.shape
    w = x.shape[2] - kw + 1
    taps = kernel.transpose(0, 2, 1, 3).reshape(kh, 1, channels, kw * features)
    rows = _plain_conv(x, taps).reshape(x.shape[0], -1, x.shape[2], kw, features)
    return sum(rows[:, :, j : j + w, j] for j in range(kw))


def _conv_by_planes(x: Array, kernel: Array) -> Array:
    """Adds shifted channels, each times one weight."""
    kh, kw, channels, features = kernel.shape
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    taps = [(i, j, c) for i in range(kh) for j in range(kw) for c in range(channels)]
    planes = [
        sum(x[:, i : i + h, j : j + w, c] * kernel[i, j, c, f] for i, j, c in taps)
        for f in range(features)
    ]
    return jnp.stack(planes, axis=-1)


def conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Convolution (cross-correlation) without padding, by the form that is fast for its shape.

    Args:
        x: (N, H, W, C), already padded. With stride 2, H and W must be even.
        kernel: (k, k, C, features).
        stride: 1 or 2.

    Returns:
        (N, (H - k) // stride + 1, (W - k) // stride + 1, features).
    """
    kh, kw, channels, features = kernel.shape
    few_pixels = (x.shape[1] - kh + stride) * (x.shape[2] - kw + stride) <= _FEW_PIXELS * stride**2
    if stride == 2 and (few_pixels or channels <= _FEW_CHANNELS):
        kernel = jnp.pad(kernel, ((0, kh % 2), (0, kw % 2), (0, 0), (0, 0)))
        blocks = kernel.reshape(-(-kh // 2), 2, -(-kw // 2), 2, channels, features)
        blocks = blocks.transpose(0, 2, 1, 3, 4, 5)
        blocks = blocks.reshape(*blocks.shape[:2], 4 * channels, features)
        return _conv_by_windows(space_to_depth(x), blocks)
    many_pixels = x.shape[1] * x.shape[2] >= _MANY_PIXELS
    if stride == 1 and max(channels, features) <= _FEW_CHANNELS and many_pixels:
        return _conv_by_planes(x, kernel)
    if stride == 1 and features <= _FEW_CHANNELS:
        return _conv_to_few_channels(x, kernel)
    if stride == 1 and few_pixels:
        return _conv_by_windows(x, kernel)
    return _plain_conv(x, kernel, stride)


def conv_transpose(x: Array, kernel: Array) -> Array:
    """Transposed convolution of stride 2 that doubles height and width.

    One 2x2 convolution makes the four pixels of each output block as channels. Equals
    `lax.conv_transpose(x, kernel, (2, 2), padding)` with padding ((2, 2), (2, 2)) for a 4x4 kernel
    and ((1, 2), (1, 2)) for a 3x3 one, which are PyTorch's `padding=1` and, for 3x3, also
    `output_padding=1`.

    Args:
        x: (N, H, W, C).
        kernel: (4, 4, C, features) or (3, 3, C, features).

    Returns:
        (N, 2H, 2W, features).
    """
    size, _, channels, features = kernel.shape
    kernel = jnp.pad(kernel, ((4 - size, 0), (4 - size, 0), (0, 0), (0, 0)))
    # Output pixel 2m - 1 + r of a row is x[m - 1] w[1 - r] + x[m] w[3 - r], for r = 0 and 1.
    taps = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return depth_to_space(conv(x, taps))[:, 1:-1, 1:-1]


def resize_conv(x: Array, kernel: Array) -> Array:
    """Nearest-neighbour doubling followed by a zero-padded 3x3 convolution.

    Doubling makes neighbours equal, so their taps add up and the pair is a transposed convolution
    with a tied 4x4 kernel, at 4/9 of the products. All four phases see weights of the same sum,
    which is why it draws no checkerboard (Odena et al., 2016, "Deconvolution and Checkerboard
    Artifacts").

    Args:
        x: (N, H, W, C).
        kernel: (3, 3, C, features).

    Returns:
        (N, 2H, 2W, features).
    """
    tie = jnp.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], kernel.dtype)
    return conv_transpose(x, jnp.einsum("ai,bj,ijcf->abcf", tie, tie, kernel))


# Bilinear doubling and a convolution's three taps along one axis, for the two pixels that come of
# one: which share of its left neighbour, itself and its right neighbour each tap sees.
_BILINEAR_TIE = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25)),
    ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75)),
)


def bilinear_conv(x: Array, kernel: Array) -> Array:
    """Bilinear doubling, of an image with a border of zeros, followed by a 3x3 convolution.

    Smoother than `resize_conv`, whose blocks of equal pixels leave straight edges in images, at
    2.25 times its products. The pair is a sub-pixel convolution with tied weights.

    Args:
        x: (N, H, W, C).
        kernel: (3, 3, C, features).

    Returns:
        (N, 2H, 2W, features).
    """
    tie = jnp.array(_BILINEAR_TIE, kernel.dtype)
    tied = jnp.einsum("pia,qjb,ijcf->abcpqf", tie, tie, kernel)
    return pixel_shuffle_conv(x, tied.reshape(*tied.shape[:3], -1))


def pixel_shuffle_conv(x: Array, kernel: Array) -> Array:
    """Zero-padded 3x3 convolution whose channels become the pixels of 2x2 blocks.

    Shi et al., 2016 (arXiv 1609.05158), sub-pixel convolution.

    Args:
        x: (N, H, W, C).
        kernel: (3, 3, C, 4 features), the four pixels of a block one after the other.

    Returns:
        (N, 2H, 2W, features).
    """
    return depth_to_space(conv(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel))


def _pixel_shuffle_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The same weights for the four pixels of a block: at first it draws no grid.

    Aitken et al., 2017 (arXiv 1707.02937): this start equals a convolution followed by a
    nearest-neighbour resize.
    """
    return jnp.tile(kernel_init(key, (*shape[:-1], shape[-1] // 4), dtype), 4)


def instance_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """Zero mean and unit variance over H and W, for each image and channel; no parameters.

    Statistics are float32 whatever the type of `x` (Ulyanov et al., 2016, arXiv 1607.08022).
    """
    wide = x.astype(jnp.float32)
    mean = wide.mean((1, 2), keepdims=True)
    variance = jnp.square(wide - mean).mean((1, 2), keepdims=True)
    return ((wide - mean) * lax.rsqrt(variance + epsilon)).astype(x.dtype)


def group_norm(x: Array, groups: int = 4, epsilon: float = 1e-5) -> Array:
    """Standardises each image's groups of neighbouring channels together, without a scale.

    Wu and He, 2018 (arXiv 1803.08494), equation 7. Unlike the instance norm it keeps how bright
    one channel of a group is beside another.

    Args:
        x: (N, H, W, C).
        groups: a divisor of C.
        epsilon: keeps the root away from 0.
    """
    grouped = x.reshape(*x.shape[:-1], groups, -1).astype(jnp.float32)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = jnp.square(grouped - mean).mean(axis=(1, 2, 4), keepdims=True)
    return ((grouped - mean) * lax.rsqrt(variance + epsilon)).reshape(x.shape).astype(x.dtype)


def leaky_relu(x: Array) -> Array:
    """Leaky ReLU of slope 0.2, the one both papers' networks use."""
    return nn.leaky_relu(x, 0.2)


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
        return jax.random.bernoulli(jax.random.fold_in(key, layer), 1.0 - rate, x.shape[1:])

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

    def draw(key: Array) -> Array:
        return jax.random.normal(jax.random.fold_in(key, layer), x.shape[1:], x.dtype)

    return x + std * jax.vmap(draw)(keys)


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
        dtype: type of the products.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: int = 1
    padding_mode: str = "constant"
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, H, W, C) -> (N, H', W', features)."""
        size = self.kernel_size
        kernel = self.param("kernel", kernel_init, (size, size, x.shape[-1], self.features))
        pad = (self.padding, self.padding)
        x = jnp.pad(x.astype(self.dtype), ((0, 0), pad, pad, (0, 0)), mode=self.padding_mode)
        x = conv(x, kernel.astype(self.dtype), self.stride)
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
        dtype: type of the products.
    """

    features: int
    kernel_size: int = 4
    method: str = "deconv"
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, H, W, C) -> (N, 2H, 2W, features)."""
        form, size, features, init = {
            "deconv": (conv_transpose, self.kernel_size, self.features, kernel_init),
            "resize": (resize_conv, 3, self.features, kernel_init),
            "bilinear": (bilinear_conv, 3, self.features, kernel_init),
            "pixel_shuffle": (pixel_shuffle_conv, 3, 4 * self.features, _pixel_shuffle_init),
        }[self.method]
        kernel = self.param("kernel", init, (size, size, x.shape[-1], features))
        x = form(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return x

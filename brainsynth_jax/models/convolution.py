"""Convolutions, each in the form that is fast for its shape.

A *form* is a way to compute the same numbers. XLA on a CPU is up to ten times slower at gradients
of strided and of few-channel convolutions than at those of plain ones, and its plain ones have four
times the products of Winograd's. `choose_form`, and `strided` for stride 2, hold what was measured
on two cores with AVX-512; nothing else decides. Other backends have libraries that choose.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from brainsynth_jax.models.strided import (
    FEW_CHANNELS,
    depth_to_space,
    double,
    halve,
    isolated_conv,
    plain_conv,
    turn,
)
from brainsynth_jax.models.waiting import compute_once, order_gradients, rematerialize
from brainsynth_jax.models.winograd import winograd_conv

# Whatever was measured, all layers take the plain form.
_plain_only: ContextVar[bool] = ContextVar("plain_only", default=False)


@contextmanager
def plain_forms() -> Iterator[None]:
    """While a function is traced in here, its convolutions are XLA's own, whatever their shape.

    JAX keeps what it has traced: a function that was called before keeps its forms.
    """
    token = _plain_only.set(True)
    try:
        yield
    finally:
        _plain_only.reset(token)


def _as_it_is(x: Array) -> Array:
    return x


def conv(
    x: Any,
    kernel: Array,
    stride: int = 1,
    padding: int = 0,
    padding_mode: str = "constant",
    prepare: Callable[[Any], Array] = _as_it_is,
) -> Array:
    """Convolution (cross-correlation), by the form that is fast for its shape.

    Args:
        x: (N, H, W, C), or what `prepare` makes it of. With stride 2, H and W must be even.
        kernel: (k, k, C, features).
        stride: 1 or 2.
        padding: p pixels on each side.
        padding_mode: "constant" (zeros) or "reflect".
        prepare: makes the image of `x`. On a CPU only `x` is kept for the gradient, and the image
            is made again.

    Returns:
        (N, (H + 2p - k) // stride + 1, (W + 2p - k) // stride + 1, features).
    """

    def by_form(x: Any, kernel: Array) -> Array:
        image = _pad(prepare(x), padding, padding_mode)
        if stride == 2:
            return halve(image, kernel)
        return FORMS[choose_form(image.shape, kernel.shape, image.dtype.name)](image, kernel)

    if _has_forms():
        return rematerialize(by_form, *order_gradients(x, kernel))
    return plain_conv(_pad(prepare(x), padding, padding_mode), kernel, stride)


def _pad(x: Array, padding: int, mode: str) -> Array:
    sides = (padding, padding)
    return jnp.pad(x, ((0, 0), sides, sides, (0, 0)), mode=mode)


def conv_transpose(x: Any, kernel: Array, prepare: Callable[[Any], Array] = _as_it_is) -> Array:
    """Transposed convolution of stride 2 that doubles height and width.

    Equals `lax.conv_transpose(x, kernel, (2, 2), padding)` with padding ((2, 2), (2, 2)) for a 4x4
    kernel and ((1, 2), (1, 2)) for a 3x3 one, which are PyTorch's `padding=1` and, for 3x3, also
    `output_padding=1`.

    Args:
        x: (N, H, W, C), or what `prepare` makes it of.
        kernel: (4, 4, C, features) or (3, 3, C, features).
        prepare: as of `conv`.

    Returns:
        (N, 2H, 2W, features).
    """

    def by_form(x: Any, kernel: Array) -> Array:
        return double(prepare(x), kernel)[:, 1:-1, 1:-1]

    if _has_forms():
        return rematerialize(by_form, *order_gradients(x, kernel))
    padding = (len(kernel) // 2, 2)
    return lax.conv_transpose(prepare(x), kernel, (2, 2), (padding, padding))


def _has_forms() -> bool:
    return jax.default_backend() == "cpu" and not _plain_only.get()


def resize_conv(x: Any, kernel: Array, prepare: Callable[[Any], Array] = _as_it_is) -> Array:
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
    return conv_transpose(x, jnp.einsum("ai,bj,ijcf->abcf", tie, tie, kernel), prepare)


# Bilinear doubling and a convolution's three taps along one axis, for the two pixels that come of
# one: which share of its left neighbour, itself and its right neighbour each tap sees.
_BILINEAR_TIE = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25)),
    ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75)),
)


def bilinear_conv(x: Any, kernel: Array, prepare: Callable[[Any], Array] = _as_it_is) -> Array:
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
    return pixel_shuffle_conv(x, tied.reshape(*tied.shape[:3], -1), prepare)


def pixel_shuffle_conv(x: Any, kernel: Array, prepare: Callable[[Any], Array] = _as_it_is) -> Array:
    """Zero-padded 3x3 convolution whose channels become the pixels of 2x2 blocks.

    Shi et al., 2016 (arXiv 1609.05158), sub-pixel convolution.

    Args:
        x: (N, H, W, C).
        kernel: (3, 3, C, 4 features), the four pixels of a block one after the other.

    Returns:
        (N, 2H, 2W, features).
    """
    return depth_to_space(conv(x, kernel, padding=1, prepare=prepare))


# Outputs of a tile by taps of the filter. Larger tiles save more products and lose more digits.
_TILES = {3: 4, 4: 3}


def choose_form(image: tuple[int, ...], kernel: tuple[int, ...], dtype: str) -> str:
    """The fastest form of a stride-1 convolution, forwards and backwards, a key of `FORMS`.

    Args:
        image: shape of the padded image, (N, H, W, C). N does not matter, so that a batch is
            computed alike however many devices share it.
        kernel: its shape, (k, k, C, features).
        dtype: "float32" or another, in which Winograd's differences would lose too many digits.
    """
    size, _, channels, features = kernel
    pixels = (image[1] - size + 1) * (image[2] - size + 1)
    if max(channels, features) <= FEW_CHANNELS and pixels >= 10_000:
        return "planes"  # with fewer pixels it only takes longer to compile
    if features <= FEW_CHANNELS:
        return "few_channels"
    if pixels <= 64:
        return "patches"
    fewer_products = dtype == "float32" and size in _TILES and min(channels, features) >= 16
    return "winograd" if fewer_products and pixels >= 256 else "plain"


def _conv_to_few_channels(x: Array, kernel: Array) -> Array:
    """Multiplies by the taps of one kernel row at a time as output channels, then adds shifted."""
    kh, kw, channels, features = kernel.shape
    w = x.shape[2] - kw + 1
    taps = kernel.transpose(0, 2, 1, 3).reshape(kh, 1, channels, kw * features)
    rows = plain_conv(x, taps).reshape(x.shape[0], -1, x.shape[2], kw, features)
    return sum(rows[:, :, j : j + w, j] for j in range(kw))


@jax.custom_vjp
def _conv_by_planes(x: Array, kernel: Array) -> Array:
    """Adds shifted channels, each times one weight.

    The rule for its gradients is there because the derived one takes six times as long.
    """
    x = compute_once(x)  # not a norm's or an activation's arithmetic for each tap
    kh, kw, channels, features = kernel.shape
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    taps = [(i, j, c) for i in range(kh) for j in range(kw) for c in range(channels)]
    planes = [
        sum(x[:, i : i + h, j : j + w, c] * kernel[i, j, c, f] for i, j, c in taps)
        for f in range(features)
    ]
    return jnp.stack(planes, axis=-1)


def _conv_by_planes_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv_by_planes(x, kernel), (x, kernel)


def _conv_by_planes_backward(operands: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = operands
    rows, columns = ((size - 1, size - 1) for size in kernel.shape[:2])
    of_image = _conv_by_planes(jnp.pad(gradient, ((0, 0), rows, columns, (0, 0))), turn(kernel))
    _, of_kernel = jax.vjp(partial(plain_conv, x), kernel)
    return of_image, *of_kernel(gradient)


_conv_by_planes.defvjp(_conv_by_planes_forward, _conv_by_planes_backward)


def _conv_by_patches(x: Array, kernel: Array) -> Array:
    """One matrix product, whose gradients turn and copy no kernel."""
    kh, kw, channels, features = kernel.shape
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    taps = [x[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)]
    patches = jnp.concatenate(taps, axis=-1).reshape(-1, kh * kw * channels)
    return (patches @ kernel.reshape(-1, features)).reshape(-1, h, w, features)


def _conv_by_winograd(x: Array, kernel: Array) -> Array:
    """Fewer products."""
    return winograd_conv(x, kernel, _TILES[len(kernel)])


FORMS: dict[str, Callable[[Array, Array], Array]] = {
    "plain": isolated_conv,
    "few_channels": _conv_to_few_channels,
    "planes": _conv_by_planes,
    "patches": _conv_by_patches,
    "winograd": _conv_by_winograd,
}

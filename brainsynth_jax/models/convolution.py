"""Convolutions, each in the form that is fast for its shape.

A *form* is a way to compute the same numbers. XLA on a CPU is up to 25 times slower at gradients of
transposed and of one-channel convolutions than at those of plain ones, and its plain ones have four
times the products of Winograd's. `choose_form` and `choose_transposed_form` hold what was measured,
on two cores with AVX-512; nothing else decides.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

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


def conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Convolution (cross-correlation) without padding, by the form that is fast for its shape.

    Args:
        x: (N, H, W, C), already padded. With stride 2, H and W must be even.
        kernel: (k, k, C, features).
        stride: 1 or 2.

    Returns:
        (N, (H - k) // stride + 1, (W - k) // stride + 1, features).
    """
    form = choose_form(x.shape, kernel.shape, stride, x.dtype.name, _backend())
    return FORMS[form](x, kernel, stride)


def conv_transpose(x: Array, kernel: Array) -> Array:
    """Transposed convolution of stride 2 that doubles height and width.

    Equals `lax.conv_transpose(x, kernel, (2, 2), padding)` with padding ((2, 2), (2, 2)) for a 4x4
    kernel and ((1, 2), (1, 2)) for a 3x3 one, which are PyTorch's `padding=1` and, for 3x3, also
    `output_padding=1`.

    Args:
        x: (N, H, W, C).
        kernel: (4, 4, C, features) or (3, 3, C, features).

    Returns:
        (N, 2H, 2W, features).
    """
    form = choose_transposed_form(x.shape, _backend())
    return TRANSPOSED_FORMS[form](x, kernel)


def _backend() -> str:
    return "none" if _plain_only.get() else jax.default_backend()


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


# Below this many channels a plain convolution leaves the processor's vector units empty.
_FEW_CHANNELS = 4


def choose_form(
    image: tuple[int, ...], kernel: tuple[int, ...], stride: int, dtype: str, backend: str
) -> str:
    """The fastest form of a convolution forwards and backwards, a key of `FORMS`.

    Args:
        image: shape of the padded image, (N, H, W, C). N does not matter, so that a batch is
            computed alike however many devices share it.
        kernel: its shape, (k, k, C, features).
        stride: 1 or 2.
        dtype: "float32" or another, in which Winograd's differences would lose too many digits.
        backend: JAX's name. Only "cpu" was measured; others' libraries choose for themselves.
    """
    if backend != "cpu":
        return "plain"
    size, _, channels, features = kernel
    pixels = ((image[1] - size) // stride + 1) * ((image[2] - size) // stride + 1)
    fewer_products = dtype == "float32" and min(channels, features) >= 16
    if stride == 2:
        if channels <= _FEW_CHANNELS:
            return "blocks"
        if pixels <= 400:
            return "windows"
        return "winograd" if fewer_products and size == 4 else "plain"
    if max(channels, features) <= _FEW_CHANNELS and image[1] * image[2] >= 10_000:
        return "planes"  # with fewer pixels it only takes longer to compile
    if features <= _FEW_CHANNELS:
        return "few_channels"
    if pixels <= 100:
        return "windows"
    return "winograd" if fewer_products and size in _TILES and pixels >= 256 else "plain"


def choose_transposed_form(image: tuple[int, ...], backend: str) -> str:
    """The same of a transposed convolution, a key of `TRANSPOSED_FORMS`.

    "phases" is a convolution again, of which `choose_form` decides.
    """
    if backend != "cpu":
        return "plain"
    pixels = image[1] * image[2]
    if pixels <= 16:
        return "taps"
    return "windows" if pixels <= 300 else "phases"


def _plain_conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """XLA's own."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_by_windows(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Gathers the kernel's window as channels, then one matrix product."""
    size, _, _, features = kernel.shape
    h, w = ((side - size) // stride * stride + 1 for side in x.shape[1:3])
    windows = [
        x[:, i : i + h : stride, j : j + w : stride] for i in range(size) for j in range(size)
    ]
    return jnp.concatenate(windows, axis=-1) @ kernel.reshape(-1, features)


def _conv_by_blocks(x: Array, kernel: Array, stride: int) -> Array:
    """Stride 2 on few channels: 2x2 blocks of pixels become channels, then windows of these."""
    del stride
    size, _, channels, features = kernel.shape
    kernel = jnp.pad(kernel, ((0, size % 2), (0, size % 2), (0, 0), (0, 0)))
    half = -(-size // 2)
    blocks = kernel.reshape(half, 2, half, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return _conv_by_windows(space_to_depth(x), blocks.reshape(half, half, 4 * channels, features))


def _conv_to_few_channels(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Multiplies by the taps of one kernel row at a time as output channels, then adds shifted."""
    del stride
    kh, kw, channels, features = kernel.shape
    w = x.shape[2] - kw + 1
    taps = kernel.transpose(0, 2, 1, 3).reshape(kh, 1, channels, kw * features)
    rows = _plain_conv(x, taps).reshape(x.shape[0], -1, x.shape[2], kw, features)
    return sum(rows[:, :, j : j + w, j] for j in range(kw))


def _conv_by_planes(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Adds shifted channels, each times one weight."""
    del stride
    kh, kw, channels, features = kernel.shape
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    taps = [(i, j, c) for i in range(kh) for j in range(kw) for c in range(channels)]
    planes = [
        sum(x[:, i : i + h, j : j + w, c] * kernel[i, j, c, f] for i, j, c in taps)
        for f in range(features)
    ]
    return jnp.stack(planes, axis=-1)


# Outputs of a tile by taps of the filter. Larger tiles save more products and lose more digits.
_TILES = {2: 3, 3: 4, 4: 3}


def _conv_by_winograd(x: Array, kernel: Array, stride: int) -> Array:
    """Fewer products; 4x4 of stride 2 as 2x2 on blocks of pixels."""
    if stride == 1:
        return winograd_conv(x, kernel, _TILES[len(kernel)])
    return winograd_conv(space_to_depth(x), _split_taps(kernel), _TILES[2])


def _split_taps(kernel: Array) -> Array:
    """(4, 4, C, F) -> (2, 2, 2, 2, C, F): for each pixel of a 2x2 block, the taps that meet it."""
    channels, features = kernel.shape[2:]
    return kernel.reshape(2, 2, 2, 2, channels, features).transpose(1, 3, 0, 2, 4, 5)


FORMS: dict[str, Callable[[Array, Array, int], Array]] = {
    "plain": _plain_conv,
    "windows": _conv_by_windows,
    "blocks": _conv_by_blocks,
    "few_channels": _conv_to_few_channels,
    "planes": _conv_by_planes,
    "winograd": _conv_by_winograd,
}


def _plain_transposed(x: Array, kernel: Array) -> Array:
    """XLA's own."""
    low = len(kernel) // 2
    padding = (low, 2)
    return lax.conv_transpose(x, kernel, (2, 2), (padding, padding))


def _transposed_by_phases(
    x: Array, kernel: Array, form: Callable[[Array, Array], Array] = conv
) -> Array:
    """One 2x2 convolution makes the four pixels of each output block as channels."""
    channels, features = kernel.shape[2:]
    taps = _phase_taps(kernel).transpose(2, 3, 4, 0, 1, 5)
    return _crop_phases(form(_bordered(x), taps.reshape(2, 2, channels, 4 * features)))


def _phase_taps(kernel: Array) -> Array:
    """(4, 4, C, F) or (3, 3, C, F) -> (2, 2, 2, 2, C, F): the 2x2 taps of each output pixel.

    Output pixel 2m - 1 + r of a row is x[m - 1] w[1 - r] + x[m] w[3 - r], for r = 0 and 1.
    """
    return _split_taps(_as_four_taps(kernel))[::-1, ::-1]


def _as_four_taps(kernel: Array) -> Array:
    """A transposed convolution's 3x3 kernel as the 4x4 one that does the same."""
    missing = 4 - len(kernel)
    return jnp.pad(kernel, ((missing, 0), (missing, 0), (0, 0), (0, 0)))


def _bordered(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _crop_phases(x: Array) -> Array:
    return depth_to_space(x)[:, 1:-1, 1:-1]


def _transposed_by_taps(x: Array, kernel: Array) -> Array:
    """Each tap times the whole image, with the kernel as it lies; then all shifted and added.

    For few pixels and many weights, which other forms would have to rearrange.
    """
    count, h, w, channels = x.shape
    taps = _as_four_taps(kernel).reshape(16, channels, -1)
    pixels = jnp.broadcast_to(x.reshape(1, -1, channels), (16, count * h * w, channels))
    products = lax.dot_general(pixels, taps, (((2,), (1,)), ((0,), (0,))))
    products = products.reshape(4, 4, count, h, w, -1)

    def add_shifted(taps: Array, axis: int) -> Array:
        """(4, ...) -> (2, ...), one longer along `axis`: both phases."""

        def border(part: Array, before: int) -> Array:
            widths = [(0, 0)] * part.ndim
            widths[axis] = (before, 1 - before)
            return jnp.pad(part, widths)

        return jnp.stack([border(taps[1 - r], 1) + border(taps[3 - r], 0) for r in (0, 1)])

    rows = add_shifted(products, 2)  # (2, 4, N, H + 1, W, F)
    phases = add_shifted(rows.swapaxes(0, 1), 3)  # columns' phase, rows' phase, N, H + 1, W + 1, F
    x = phases.transpose(2, 3, 1, 4, 0, 5).reshape(count, 2 * h + 2, 2 * w + 2, -1)
    return x[:, 1:-1, 1:-1]


TRANSPOSED_FORMS: dict[str, Callable[[Array, Array], Array]] = {
    "plain": _plain_transposed,
    "phases": _transposed_by_phases,
    "windows": partial(_transposed_by_phases, form=_conv_by_windows),
    "taps": _transposed_by_taps,
}

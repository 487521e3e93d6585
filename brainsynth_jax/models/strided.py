"""Convolution of stride 2 and its adjoint, the transposed one, with all their gradients.

Both are the same bilinear form: training needs it with the image, with the half-sized image and
with the kernel taken out. Each of these three products has its own fast form here, and each is the
gradient of the others. XLA on a CPU derives gradients that are up to ten times slower.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from brainsynth_jax.models.waiting import isolate, wait_for

# Up to so many channels an image's pixels are no work for a processor's vector units.
FEW_CHANNELS = 4
# Up to so many features one product of all pixels with all taps is faster than a convolution.
_FEW_FEATURES = 2
# Up to so many pixels of the half-sized image the kernel is most of what has to be moved.
_FEW_PIXELS = 64


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


def turn(kernel: Array) -> Array:
    """(k, k, C, features) -> (k, k, features, C), upside down: as the adjoint takes it."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


@jax.jit
def halve(x: Array, kernel: Array) -> Array:
    """Convolution (cross-correlation) of stride 2 without padding.

    Args:
        x: (N, 2H + 2, 2W + 2, C), padded already.
        kernel: (3, 3, C, features) or (4, 4, C, features).

    Returns:
        (N, H, W, features).
    """
    return _halve(False, x, kernel)


@jax.jit
def double(x: Array, kernel: Array) -> Array:
    """Transposed convolution of stride 2 without cropping: adjoint of `halve` by `turn(kernel)`.

    Args:
        x: (N, H, W, C).
        kernel: (3, 3, C, features) or (4, 4, C, features).

    Returns:
        (N, 2H + 2, 2W + 2, features).
    """
    return _double(False, x, kernel)


# Each of the three takes or gives the kernel as it lies, or as `turn` gives it: turning a large one
# takes longer than what it is turned for.


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _halve(turned: bool, x: Array, kernel: Array) -> Array:
    form = _choose_halving_form(turned, x.shape)
    return HALVING_FORMS[form](turned, x, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _double(turned: bool, x: Array, kernel: Array) -> Array:
    form = _choose_doubling_form(x.shape, kernel.shape[2 if turned else 3])
    return DOUBLING_FORMS[form](turned, x, kernel)


def _gather(turned: bool, x: Array, halved: Array, size: int) -> Array:
    """Adjoint of `_halve` for the kernel: what each of its taps has met."""
    form = _choose_gathering_form(halved.shape)
    return GATHERING_FORMS[form](turned, x, halved, size)


Operands = tuple[Array, Array]


def _halve_forward(turned: bool, x: Array, kernel: Array) -> tuple[Array, Operands]:
    return _halve(turned, x, kernel), (x, kernel)


def _halve_backward(turned: bool, operands: Operands, gradient: Array) -> Operands:
    x, kernel = operands
    return _double(not turned, gradient, kernel), _gather(turned, x, gradient, len(kernel))


_halve.defvjp(_halve_forward, _halve_backward)


def _double_forward(turned: bool, x: Array, kernel: Array) -> tuple[Array, Operands]:
    return _double(turned, x, kernel), (x, kernel)


def _double_backward(turned: bool, operands: Operands, gradient: Array) -> Operands:
    x, kernel = operands
    return _halve(not turned, gradient, kernel), _gather(not turned, gradient, x, len(kernel))


_double.defvjp(_double_forward, _double_backward)


# Measured on two cores with AVX-512, with 1 and with 8 images of the papers' shapes. The number of
# images does not matter to a choice, so that a batch is computed alike however many devices share
# it.


def _choose_halving_form(turned: bool, image: tuple[int, ...]) -> str:
    if turned and (image[1] - 2) * (image[2] - 2) <= 4 * _FEW_PIXELS:
        return "taps"
    return "blocks" if image[3] <= FEW_CHANNELS else "plain"


def _choose_doubling_form(image: tuple[int, ...], features: int) -> str:
    if features <= _FEW_FEATURES:
        return "pixels"
    return "taps" if image[1] * image[2] <= _FEW_PIXELS else "phases"


def _choose_gathering_form(halved: tuple[int, ...]) -> str:
    return "taps" if halved[1] * halved[2] <= _FEW_PIXELS else "blocks"


def plain_conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """XLA's own convolution without padding."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def isolated_conv(x: Array, kernel: Array, stride: int = 1) -> Array:
    """`plain_conv`, which XLA is kept from fusing with a sum over what it gives, as norms take it.

    YNNPACK's convolution and sum in one are up to four times slower than one after the other.
    """
    return isolate(plain_conv(x, kernel, stride))


def _halve_plainly(turned: bool, x: Array, kernel: Array) -> Array:
    """XLA's own."""
    return isolated_conv(x, turn(kernel) if turned else kernel, 2)


def _halve_blocks(turned: bool, x: Array, kernel: Array) -> Array:
    """2x2 blocks of pixels become channels; then windows of these and one matrix product."""
    if turned:
        kernel = turn(kernel)
    missing = 4 - len(kernel)
    kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
    channels, features = kernel.shape[2:]
    blocks = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    windows = jnp.concatenate(_windows(space_to_depth(x), 2, 1), axis=-1)
    return windows @ blocks.reshape(-1, features)


def _halve_by_taps(turned: bool, x: Array, kernel: Array) -> Array:
    """The pixels that each tap meets times that tap, as the kernel lies; then all added."""
    windows = _windows(x, len(kernel), 2)
    pixels = jnp.stack(windows[::-1] if turned else windows)
    products = _multiply_taps(turned, pixels.reshape(len(windows), -1, x.shape[3]), kernel)
    # Not products.sum(0), which is slow in one with the products, see `isolated_conv`.
    made = sum(part.astype(jnp.float32) for part in products).astype(x.dtype)
    return made.reshape(*windows[0].shape[:3], -1)


def _multiply_taps(turned: bool, pixels: Array, kernel: Array) -> Array:
    """(taps, pixels, C) -> (taps, pixels, features): each times its own tap."""
    taps = kernel.reshape(len(pixels), *kernel.shape[2:])
    return lax.dot_general(pixels, taps, (((2,), (2 if turned else 1,)), ((0,), (0,))))


def _windows(x: Array, size: int, stride: int) -> list[Array]:
    """The pixels that each tap of a kernel meets, (N, H', W', C)."""
    h, w = ((side - size) // stride * stride + 1 for side in x.shape[1:3])
    return [x[:, i : i + h : stride, j : j + w : stride] for i in range(size) for j in range(size)]


def _double_by_phases(turned: bool, x: Array, kernel: Array) -> Array:
    """One 2x2 convolution makes the four pixels of each output block as channels."""
    taps = _phases(turn(kernel) if turned else kernel)
    return depth_to_space(plain_conv(_bordered(x), taps))


def _phases(kernel: Array) -> Array:
    """(k, k, C, features) -> (2, 2, C, 4 features): the taps that each pixel of a block meets.

    Row 2m + r of what `double` gives is x[m - 1] k[1 - r] + x[m] k[3 - r], for r = 0 and 1.
    """
    channels, features = kernel.shape[2:]
    phases = _widen(kernel).reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    return phases.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)


def _widen(kernel: Array) -> Array:
    """(k, k, C, features) -> (4, 4, C, features), with zeros where a transposed one has none."""
    missing = 4 - len(kernel)
    return jnp.pad(kernel, ((missing, 0), (missing, 0), (0, 0), (0, 0)))


def _bordered(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _double_by_pixels(turned: bool, x: Array, kernel: Array) -> Array:
    """Each pixel times the features of all taps, in one product; then all shifted and added."""
    kernel = _widen(turn(kernel) if turned else kernel)
    count, h, w, channels = x.shape
    products = jnp.dot(
        x.reshape(-1, channels),
        kernel.transpose(2, 0, 1, 3).reshape(channels, -1),
        preferred_element_type=jnp.float32,
    )
    products = products.reshape(count, h, w, -1)
    products = _bordered(products).reshape(count, h + 2, w + 2, 4, 4, -1)
    phases = [
        sum(
            products[:, i : i + h + 1, j : j + w + 1, 1 - row + 2 * i, 1 - column + 2 * j]
            for i in (0, 1)
            for j in (0, 1)
        )
        for row in (0, 1)
        for column in (0, 1)
    ]  # as in `_phases`
    return depth_to_space(jnp.concatenate(phases, axis=-1).astype(x.dtype))


def _double_by_taps(turned: bool, x: Array, kernel: Array) -> Array:
    """Each tap times the whole image, with the kernel as it lies; then all shifted and added."""
    count, h, w, channels = x.shape
    size = len(kernel)
    pixels = jnp.broadcast_to(x.reshape(1, -1, channels), (size**2, count * h * w, channels))
    products = _multiply_taps(turned, pixels, kernel).reshape(size, size, count, h, w, -1)
    if turned:
        products = products[::-1, ::-1]
    products = jnp.pad(products, ((4 - size, 0), (4 - size, 0), *(((0, 0),) * 4)))

    def add_shifted(taps: Array, axis: int) -> Array:
        """(4, ...) -> (2, ...), one longer along `axis`: both phases."""

        def border(part: Array, before: int) -> Array:
            widths = [(0, 0)] * part.ndim
            widths[axis] = (before, 1 - before)
            return jnp.pad(part, widths)

        return jnp.stack([border(taps[1 - r], 1) + border(taps[3 - r], 0) for r in (0, 1)])

    rows = add_shifted(products, 2)  # (2, 4, N, H + 1, W, F)
    phases = add_shifted(rows.swapaxes(0, 1), 3)  # columns' phase, rows' phase, N, H + 1, W + 1, F
    return phases.transpose(2, 3, 1, 4, 0, 5).reshape(count, 2 * h + 2, 2 * w + 2, -1)


def _gather_blocks(turned: bool, x: Array, halved: Array, size: int) -> Array:
    """The same in 2x2 blocks of pixels, of which `halve` has four taps only."""
    channels, features = x.shape[3], halved.shape[3]
    halved = halved.reshape(-1, features)
    windows = [part.reshape(-1, 4 * channels) for part in _windows(space_to_depth(x), 2, 1)]
    if turned:
        kernel = _multiply_in_turn(lambda part: _gather_pixels(halved, part), windows)
        kernel = kernel.reshape(2, 2, features, 2, 2, channels)[::-1, ::-1, :, ::-1, ::-1]
        kernel = kernel.transpose(0, 3, 1, 4, 2, 5).reshape(4, 4, features, channels)
        return kernel[4 - size :, 4 - size :]
    kernel = _multiply_in_turn(lambda part: _gather_pixels(part, halved), windows)
    kernel = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(4, 4, channels, features)[:size, :size]


def _multiply_in_turn(multiply: Callable[[Array], Array], windows: list[Array]) -> Array:
    """The products, stacked; each window is laid out only after the product before it."""
    products = [multiply(windows[0])]
    for window in windows[1:]:
        products.append(multiply(wait_for(products[-1], window)))
    return jnp.stack(products)


def _gather_pixels(a: Array, b: Array) -> Array:
    """(pixels, C), (pixels, D) -> (C, D)."""
    return lax.dot_general(a, b, (((0,), (0,)), ((), ())))


def _gather_taps(turned: bool, x: Array, halved: Array, size: int) -> Array:
    """For each tap, one matrix product of the pixels that it meets."""
    windows = _windows(x, 4, 2)
    windows = jnp.stack([windows[4 * i + j] for i in range(size) for j in range(size)])
    windows = windows.reshape(size**2, -1, x.shape[3])
    halved = halved.reshape(1, -1, halved.shape[3])
    halved = jnp.broadcast_to(halved, (size**2, *halved.shape[1:]))
    first, second = (halved, windows[::-1]) if turned else (windows, halved)
    kernel = lax.dot_general(first, second, (((1,), (1,)), ((0,), (0,))))
    return kernel.reshape(size, size, *kernel.shape[1:])


HALVING_FORMS: dict[str, Callable[[bool, Array, Array], Array]] = {
    "plain": _halve_plainly,
    "blocks": _halve_blocks,
    "taps": _halve_by_taps,
}
DOUBLING_FORMS: dict[str, Callable[[bool, Array, Array], Array]] = {
    "phases": _double_by_phases,
    "pixels": _double_by_pixels,
    "taps": _double_by_taps,
}
GATHERING_FORMS: dict[str, Callable[[bool, Array, Array, int], Array]] = {
    "blocks": _gather_blocks,
    "taps": _gather_taps,
}

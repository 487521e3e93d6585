"""Convolution with fewer products: Winograd's minimal filtering.

Winograd, 1980, "Arithmetic Complexity of Computations"; Lavin and Gray, 2016 (arXiv 1509.09308).
F(m, r) makes m neighbouring results of an r-tap filter from m + r - 1 products instead of m r: the
image is cut into tiles of m + r - 1 pixels that overlap by r - 1, tile and filter are transformed,
multiplied channel by channel, and transformed back. In two dimensions both counts are squared.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from brainsynth_jax.models.waiting import rematerialize

# Where the polynomials behind the transforms are evaluated; infinity is the last, unwritten one.
# Small numbers keep rounding errors small.
_POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))


class Transforms(NamedTuple):
    """The matrices of F(m, r), n = m + r - 1: `output @ ((kernel @ g) * (input @ d))`.

    Attributes:
        output: (m, n).
        kernel: (n, r).
        input: (n, n).
    """

    output: np.ndarray
    kernel: np.ndarray
    input: np.ndarray


@lru_cache
def transforms(outputs: int, taps: int) -> Transforms:
    """The matrices of F(outputs, taps), in float64, by the Cook-Toom construction.

    The product of two polynomials is found from its values at n points; filtering is that product
    transposed.

    Args:
        outputs: m, 1 or more.
        taps: r, 1 or more; m + r - 1 is at most 8.
    """
    size = outputs + taps - 1
    points = _POINTS[: size - 1]
    output = [[point**power for point in points] + [Fraction(0)] for power in range(outputs)]
    output[-1][-1] = Fraction(1)
    kernel, rows = [], []
    for point in points:
        others = [other for other in points if other != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        kernel.append([point**power / scale for power in range(taps)])
        rows.append([*_polynomial(others), Fraction(0)])
    kernel.append([Fraction(0)] * (taps - 1) + [Fraction(1)])
    rows.append(_polynomial(points))
    return Transforms(*(np.array(matrix, np.float64) for matrix in (output, kernel, rows)))


def _polynomial(roots: tuple[Fraction, ...] | list[Fraction]) -> list[Fraction]:
    """Coefficients, constant first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [*(-root * value for value in coefficients), Fraction(0)]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


@partial(jax.jit, static_argnums=2)
def winograd_conv(x: Array, kernel: Array, outputs: int) -> Array:
    """Convolution (cross-correlation) of stride 1 without padding, by F(outputs, taps).

    Equals the direct form up to rounding, which grows with the tile: relative to the largest
    result, about 1e-6 for F(2, 3) and F(3, 2), 1e-5 for F(4, 3) and F(3, 4) in float32.

    Args:
        x: (N, H, W, C), padded already.
        kernel: (r, r, C, features).
        outputs: m, 2 or more and at least r - 1.

    Returns:
        (N, H - r + 1, W - r + 1, features).
    """
    # Kept from the way forwards, the transforms would be most of a step's memory. `convolution`
    # lets the image wait, so that only the kernel is left to.
    return rematerialize(lambda kernel, x: _filter(outputs, x, kernel), kernel, x)


def _filter(outputs: int, x: Array, kernel: Array) -> Array:
    """`winograd_conv`, whose gradient would keep the transformed image and kernel."""
    taps, features = kernel.shape[-3], kernel.shape[-1]
    count, height, width, channels = x.shape
    height, width = height - taps + 1, width - taps + 1
    down, across = -(-height // outputs), -(-width // outputs)
    size = outputs + taps - 1

    border = [
        (0, tiles * outputs + taps - 1 - side)
        for tiles, side in ((down, x.shape[1]), (across, x.shape[2]))
    ]
    filtering = (outputs, taps)
    tiles = _cut_tiles(filtering, jnp.pad(x, ((0, 0), *border, (0, 0))))
    filters = _transform_kernel(filtering, kernel)
    products = lax.dot_general(
        tiles.reshape(size**2, -1, channels),
        filters.reshape(size**2, channels, features),
        (((2,), (1,)), ((0,), (0,))),
    )
    products = products.reshape(size, size, count, down, across, features)
    return _join_tiles(filtering, products)[:, :height, :width]


def _combine(matrix: np.ndarray, parts: Sequence[Array]) -> Array:
    """`matrix` times `parts`, along a new first axis; its zeros and ones cost nothing."""
    rows = []
    for weights in matrix:
        row = None
        for weight, part in zip(weights, parts, strict=True):
            if not weight:
                continue
            term = (
                part if weight == 1 else -part if weight == -1 else part.dtype.type(weight) * part
            )
            row = term if row is None else row + term
        rows.append(row)
    return jnp.stack(rows)


def _transform(matrix: np.ndarray, parts: Array) -> Array:
    """(k, l, ...) -> (n, m, ...), both axes by `matrix`, which has as many columns as these."""
    rows = _combine(matrix, list(parts))
    return _combine(matrix, [rows[:, column] for column in range(rows.shape[1])]).swapaxes(0, 1)


def _cut(matrix: np.ndarray, x: Array, step: int) -> Array:
    """(N, H, W, C) -> (n, n, N, tiles down, tiles across, C): `matrix` on both sides of each tile.

    Tiles have as many pixels as `matrix` columns and begin every `step` pixels. The first axis is
    that of the tiles' columns.
    """
    size = matrix.shape[1]
    down, across = ((side - size) // step + 1 for side in x.shape[1:3])
    rows = [x[:, i : i + step * (down - 1) + 1 : step] for i in range(size)]
    x = _combine(matrix, rows)
    columns = [x[:, :, :, j : j + step * (across - 1) + 1 : step] for j in range(size)]
    return _combine(matrix, columns)


def _lay(x: Array) -> Array:
    """(k, l, N, tiles down, tiles across, C) -> (N, H, W, C): tiles of l by k pixels in a plane."""
    columns, rows, count, down, across, channels = x.shape
    x = x.transpose(2, 3, 1, 4, 0, 5)
    return x.reshape(count, down * rows, across * columns, channels)


# The rules for gradients are there because the derived ones take up to ten times as long.


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _transform_kernel(filtering: tuple[int, int], kernel: Array) -> Array:
    """(r, r, C, features) -> (n, n, C, features), the tile's columns first."""
    return _transform(transforms(*filtering).kernel, kernel).swapaxes(0, 1)


def _transform_kernel_forward(filtering: tuple[int, int], kernel: Array) -> tuple[Array, None]:
    return _transform_kernel(filtering, kernel), None


def _transform_kernel_backward(
    filtering: tuple[int, int], _: None, gradient: Array
) -> tuple[Array]:
    return (_transform(transforms(*filtering).kernel.T, gradient).swapaxes(0, 1),)


_transform_kernel.defvjp(_transform_kernel_forward, _transform_kernel_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _cut_tiles(filtering: tuple[int, int], x: Array) -> Array:
    """(N, H, W, C) -> (n, n, N, tiles down, tiles across, C), transformed."""
    return _cut(transforms(*filtering).input, x, filtering[0])


def _cut_tiles_forward(filtering: tuple[int, int], x: Array) -> tuple[Array, tuple[int, ...]]:
    return _cut_tiles(filtering, x), x.shape


def _cut_tiles_backward(
    filtering: tuple[int, int], shape: tuple[int, ...], gradient: Array
) -> tuple[Array]:
    """Each pixel's sum over the tiles that it is in, two at most along an axis."""
    matrix = transforms(*filtering).input.T
    outputs, _ = filtering

    def add_overlaps(parts: Array, axis: int) -> Array:
        """(n, ...) -> (m, ...): what a tile has beyond its first m pixels belongs to the next."""

        def border(part: Array, before: int) -> Array:
            widths = [(0, 0)] * part.ndim
            widths[axis] = (before, 1 - before)
            return jnp.pad(part, widths)

        pixels = [border(part, 0) for part in parts[:outputs]]
        for number, part in enumerate(parts[outputs:]):
            pixels[number] += border(part, 1)
        return jnp.stack(pixels)

    columns = add_overlaps(_combine(matrix, list(gradient)), axis=3)
    rows = _combine(matrix, [columns[:, i] for i in range(columns.shape[1])])
    x = _lay(add_overlaps(rows, axis=2).swapaxes(0, 1))
    return (x[:, : shape[1], : shape[2]],)


_cut_tiles.defvjp(_cut_tiles_forward, _cut_tiles_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _join_tiles(filtering: tuple[int, int], products: Array) -> Array:
    """(n, n, N, tiles down, tiles across, C) -> (N, H, W, C): transformed back, side by side."""
    return _lay(_transform(transforms(*filtering).output, products))


def _join_tiles_forward(filtering: tuple[int, int], products: Array) -> tuple[Array, None]:
    return _join_tiles(filtering, products), None


def _join_tiles_backward(filtering: tuple[int, int], _: None, gradient: Array) -> tuple[Array]:
    return (_cut(transforms(*filtering).output.T, gradient, filtering[0]),)


_join_tiles.defvjp(_join_tiles_forward, _join_tiles_backward)

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


def winograd_conv(x: Array, kernel: Array, outputs: int) -> Array:
    """Convolution (cross-correlation) of stride 1 without padding, by F(outputs, taps).

    Equals the direct form up to rounding, which grows with the tile: relative to the largest
    result, about 1e-6 for F(2, 3) and F(3, 2), 1e-5 for F(4, 3) and F(3, 4) in float32.

    Args:
        x: (N, H, W, C), padded already.
        kernel: (r, r, C, features); or (2, 2, r, r, C / 4, features), that of each pixel of a block
            where `x` is `space_to_depth`'s.
        outputs: m, 2 or more.

    Returns:
        (N, H - r + 1, W - r + 1, features).
    """
    taps, features = kernel.shape[-3], kernel.shape[-1]
    count, height, width, channels = x.shape
    height, width = height - taps + 1, width - taps + 1
    down, across = -(-height // outputs), -(-width // outputs)
    size = outputs + taps - 1
    matrices = transforms(outputs, taps)

    border = [
        (0, tiles * outputs + taps - 1 - side)
        for tiles, side in ((down, x.shape[1]), (across, x.shape[2]))
    ]
    tiles = _transform_tiles(matrices.input, jnp.pad(x, ((0, 0), *border, (0, 0))), outputs)
    filters = _transform_kernel(matrices.kernel, kernel)
    products = lax.dot_general(
        tiles.reshape(size**2, -1, channels),
        filters.reshape(size**2, channels, features),
        (((2,), (1,)), ((0,), (0,))),
    )
    products = products.reshape(size, size, count, down, across, features)
    return _join_tiles((outputs, taps), products)[:, :height, :width]


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


def _transform_tiles(matrix: np.ndarray, x: Array, step: int) -> Array:
    """(N, H, W, C) -> (n, n, N, tiles down, tiles across, C): `matrix` on both sides of each tile.

    Tiles have as many pixels as `matrix` columns and begin every `step` pixels.
    """
    size = matrix.shape[1]
    down, across = ((side - size) // step + 1 for side in x.shape[1:3])
    rows = [x[:, i : i + step * (down - 1) + 1 : step] for i in range(size)]
    x = _combine(matrix, rows)
    columns = [x[:, :, :, j : j + step * (across - 1) + 1 : step] for j in range(size)]
    return _combine(matrix, columns)


def _transform_kernel(matrix: np.ndarray, kernel: Array) -> Array:
    """(..., r, r, C, features) -> (n, n, ..., C, features), the tile's columns first."""
    taps = matrix.shape[1]
    rows = _combine(matrix, [kernel[..., i, :, :, :] for i in range(taps)])
    return _combine(matrix, [rows[..., j, :, :] for j in range(taps)])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _join_tiles(filtering: tuple[int, int], products: Array) -> Array:
    """(n, n, N, tiles down, tiles across, C) -> (N, H, W, C): transformed back, side by side.

    The rule for its gradient, which is `_transform_tiles`, is there because the derived one takes
    ten times as long.
    """
    outputs, _ = filtering
    matrix = transforms(*filtering).output
    _, _, count, down, across, channels = products.shape
    columns = _combine(matrix, list(products))
    x = _combine(matrix, [columns[:, i] for i in range(matrix.shape[1])])
    x = x.transpose(2, 3, 0, 4, 1, 5)
    return x.reshape(count, down * outputs, across * outputs, channels)


def _join_tiles_forward(filtering: tuple[int, int], products: Array) -> tuple[Array, None]:
    return _join_tiles(filtering, products), None


def _join_tiles_backward(filtering: tuple[int, int], _: None, gradient: Array) -> tuple[Array]:
    return (_transform_tiles(transforms(*filtering).output.T, gradient, filtering[0]),)


_join_tiles.defvjp(_join_tiles_forward, _join_tiles_backward)

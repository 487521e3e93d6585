"""Tumours that nobody has: those of patients, moved, scaled, mirrored and bent.

A generator that draws slices from masks makes pairs of them, of which the mask is the truth. Pure
functions of numpy arrays.
"""

import numpy as np
from scipy.ndimage import find_objects, map_coordinates
from scipy.signal import correlate

from brainsynth_jax.data.masks import BRAIN, TUMOR, is_brain, is_tumor
from brainsynth_jax.data.random_fields import expand, spline_basis

SCALES = (0.7, 1.4)  # of a length
AREA_CHANGE = (0.4, 2.2)  # the squares of these, and what bending adds

# A pixel's displacement by bending: its standard deviation, of the tumour's radius. It changes over
# a radius, slowly enough that the tumour is hardly ever folded or torn.
_BEND = 0.2

# Draws until a tumour's new shape is good and has a place in its brain.
_DRAWS = 20


def warp_tumors(tissue: np.ndarray, seed: int, first: int = 0) -> np.ndarray:
    """Gives each slice's tumour another shape and another place in the same brain.

    A tumour is mirrored left to right or not, scaled, bent by a smooth random field, and put at one
    of the places where all of it is brain, each with the same chance. Codes move with their pixels,
    so the classes lie in each other as before. A tumour for which 20 draws find nothing, because it
    fills its brain or is a few pixels only, stays as it is.

    Args:
      tissue: (N, H, W) integers, the codes 0..5 of `masks`.
      seed: 0 or more. Slice k of a seed is the same whatever the other slices hold.
      first: k of the first slice.

    Returns:
      (N, H, W) of the same type. The brain is the same; the tumour holds the same classes and has
      0.4 to 2.2 times its area. A slice without tumour is unchanged.

    Raises:
      ValueError: these are no tissue maps.
    """
    tissue = np.asarray(tissue)
    if tissue.ndim != 3 or tissue.dtype.kind not in "ui":
        raise ValueError(
            f"Tissue maps (N, H, W) of integers are needed, got {tissue.dtype} {tissue.shape}."
        )
    if tissue.size and not 0 <= tissue.min() <= tissue.max() <= TUMOR:
        raise ValueError(
            f"Tissue codes from 0 to {TUMOR} are needed, got {tissue.min()} to {tissue.max()}."
        )
    warped = [
        _warp(one, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,))))
        for number, one in enumerate(tissue, start=first)
    ]
    return np.stack(warped) if warped else tissue.copy()


def _warp(tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    brain, tumor = is_brain(tissue), np.where(is_tumor(tissue), tissue, 0)
    if not tumor.any():
        return tissue
    least, most = (change * np.count_nonzero(tumor) for change in AREA_CHANGE)
    for _ in range(_DRAWS):
        shape = _reshape(tumor, rng)
        if not least <= np.count_nonzero(shape) <= most or not np.array_equal(
            np.unique(shape), np.unique(tumor)
        ):
            continue
        placed = _place(shape, brain, rng)
        if placed is not None:
            return np.where(placed, placed, brain * tissue.dtype.type(BRAIN))
    return tissue


def _reshape(tumor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The tumour's codes mirrored, scaled and bent, in the middle of a frame; 0 elsewhere."""
    pixels = np.argwhere(tumor)
    centre, radius = pixels.mean(axis=0), np.sqrt(len(pixels) / np.pi)
    scale = np.exp(rng.uniform(*np.log(SCALES)))
    mirror = rng.choice([1, -1])
    from_middle = [np.arange(size) - (size - 1) / 2 for size in tumor.shape]
    rows, columns = np.meshgrid(*from_middle, indexing="ij")
    bases = [spline_basis(np.arange(size), radius) for size in tumor.shape]
    knots = [basis.shape[1] for basis in bases]
    row_bend, column_bend = (
        _BEND * radius * expand(rng.standard_normal(knots), bases) for _ in range(2)
    )
    sources = (
        centre[0] + rows / scale + row_bend,
        centre[1] + columns / (mirror * scale) + column_bend,
    )
    return map_coordinates(tumor, sources, order=0)


def _place(shape: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Moves a shape, 0 outside it, to a place where all of it is brain; None if there is none."""
    box = shape[find_objects((shape > 0).astype(int))[0]]
    window = (box > 0).astype(np.float32)
    inside = correlate(brain.astype(np.float32), window, mode="valid", method="fft")
    corners = np.argwhere(inside > window.sum() - 0.5)
    if not len(corners):
        return None
    row, column = rng.choice(corners)
    placed = np.zeros_like(shape)
    placed[row : row + box.shape[0], column : column + box.shape[1]] = box
    return placed

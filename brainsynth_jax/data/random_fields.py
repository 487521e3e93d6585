"""Smooth random fields over a patient's field of view, evaluated on any grid of it."""

import numpy as np

# That of BraTS, along the patient's left, back and top.
FIELD_OF_VIEW_MM = (240.0, 240.0, 155.0)

# A grid: increasing float32 positions in mm from the first voxel, along each axis.
Axes = tuple[np.ndarray, np.ndarray, np.ndarray]


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def open_grid(axes: Axes, centre: tuple[float, ...]) -> list[np.ndarray]:
    """Positions relative to `centre`, shaped (X, 1, 1), (1, Y, 1), (1, 1, Z)."""
    shifted = [axis - c for axis, c in zip(axes, centre, strict=True)]
    return np.meshgrid(*shifted, indexing="ij", sparse=True)


def expand(lattice: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
    """Evaluates a separable basis, (positions, knots) along each axis, on a coarse lattice."""
    for basis in bases:
        lattice = np.tensordot(lattice[: basis.shape[1]], basis, axes=(0, 1))
    return lattice


def spline_basis(positions_mm: np.ndarray, knot_mm: float) -> np.ndarray:
    """Cubic B-splines; rows of unit length give a field of white noise unit variance."""
    knots = np.arange(-1, int(np.ceil(positions_mm.max() / knot_mm)) + 2)
    t = np.abs(positions_mm[:, None] / knot_mm - knots)
    basis = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)


def noise_lattice(rng: np.random.Generator, knot_mm: float) -> np.ndarray:
    """Covers the whole field of view, so that a field is the same on any grid."""
    shape = [int(np.ceil(extent / knot_mm)) + 3 for extent in FIELD_OF_VIEW_MM]
    return rng.standard_normal(shape, np.float32)


def smooth_noise(rng: np.random.Generator, axes: Axes, knot_mm: float) -> np.ndarray:
    """Mean 0, variance 1, correlated over about `knot_mm`; the shape of the grid `axes`."""
    return expand(noise_lattice(rng, knot_mm), [spline_basis(a, knot_mm) for a in axes])

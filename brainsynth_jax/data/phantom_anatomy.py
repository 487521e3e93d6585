"""The phantom's anatomy: the ICBM-152 atlas (Fonov et al., NeuroImage 54, 2011), warped."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from brainsynth_jax.data.random_fields import (
    FIELD_OF_VIEW_MM,
    Axes,
    expand,
    noise_lattice,
    open_grid,
    ramp,
    smooth_noise,
    spline_basis,
)

# From a BraTS volume (SRI24 space) to the atlas (MNI space): centres of the brain in both, the
# voxel of MNI (0, 0, 0), and how large the average patient is beside the atlas.
_BRAIN_CENTRE_MM = (119.0, 129.0, 69.0)
_ATLAS_CENTRE = (98.0, 118.0, 77.5)
_MNI_ORIGIN = (98.0, 134.0, 72.0)
_RELATIVE_SIZE = np.array([0.93, 0.925, 0.885])
_IN_LATERAL_VENTRICLE = (81, 108, 98)


class TissueMaps(NamedTuple):
    """The atlas that all patients grow from: (197, 233, 189) float32 at 1 mm, RAS+ order.

    Attributes:
      fluid: 0 tissue .. 1 cerebrospinal fluid, with the sulci that averaging had blurred.
      white: 0 grey .. 1 white matter.
      brain: 0 outside .. 1 inside the head mask, soft edge.
      ventricles: closeness to the lateral ventricles, about 0.5 on their wall.
    """

    fluid: np.ndarray
    white: np.ndarray
    brain: np.ndarray
    ventricles: np.ndarray


def load_tissue_maps() -> TissueMaps:
    """Loads the maps inside nilearn's package (nothing is downloaded) and sharpens them."""
    from nilearn import datasets  # two seconds, which only who makes a phantom has to wait for

    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32)
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32)
    t1 = datasets.load_mni152_template(resolution=1).get_fdata(dtype=np.float32)
    head = (t1 > 0).astype(np.float32)
    brain = ndimage.gaussian_filter(head, 1.5)

    # The average of 152 brains has lost its narrow sulci in the grey map; T1 still shows them as
    # places darker than what surrounds them.
    surround = ndimage.gaussian_filter(t1, 3) / np.maximum(ndimage.gaussian_filter(head, 3), 0.05)
    creases = np.clip((surround - t1 - 0.02) / 0.15, 0, 1)
    fluid = np.where(head > 0, np.maximum(1 - grey - white, 0.6 * creases), 1)

    deep_fluid = (grey + white < 0.5) & (ndimage.uniform_filter(brain, 21) > 0.97)
    regions, _ = ndimage.label(deep_fluid)
    ventricles = (regions == regions[_IN_LATERAL_VENTRICLE]).astype(np.float32)
    from_midline = np.arange(len(grey), dtype=np.float32) - _ATLAS_CENTRE[0]
    septum = np.exp(-((from_midline / 1.2) ** 2))[:, None, None]
    near = ndimage.gaussian_filter(ventricles, 2.5) * (1 - 0.7 * septum)
    return TissueMaps(fluid, 0.5 + 0.5 * (white - grey), brain, near)


class Warp(NamedTuple):
    """Patient mm -> atlas voxels: an affine map, bends, and the push of a growing mass.

    Attributes:
      matrix: (3, 3), rows are atlas axes.
      bends: (distance of knots in mm, size in mm, lattices of noise for the 3 atlas axes).
      mass: 0 .. 1, how strongly tissue is pushed away from `mass_mm`.
      mass_mm: where the mass is.
      reach_mm: how far the push goes.
    """

    matrix: list[list[float]]
    bends: list[tuple[float, float, list[np.ndarray]]]
    mass: float = 0.0
    mass_mm: tuple[float, ...] = (0.0, 0.0, 0.0)
    reach_mm: float = 1.0

    def atlas_points(self, axes: Axes) -> np.ndarray:
        """Where in the atlas each voxel of a grid comes from: (3, X, Y, Z) float32."""
        offsets = open_grid(axes, _BRAIN_CENTRE_MM)
        from_mass = open_grid(axes, self.mass_mm)
        pull = self.mass * np.exp(-sum(u * u for u in from_mass) / self.reach_mm**2)
        points = np.empty((3, *map(len, axes)), np.float32)
        for d, row in enumerate(self.matrix):
            points[d] = sum(m * u for m, u in zip(row, offsets, strict=True)) + _ATLAS_CENTRE[d]
            points[d] -= pull * sum(m * u for m, u in zip(row, from_mass, strict=True))
            for knot_mm, size_mm, lattices in self.bends:
                bases = [spline_basis(axis, knot_mm) for axis in axes]
                points[d] += size_mm * expand(lattices[d], bases)
        return points


def draw_warp(rng: np.random.Generator) -> Warp:
    """Draws the head of one patient: pose, size, and the shape of its folds."""
    matrix = np.diag([-1.0, -1.0, 1.0])
    for i, j in ((1, 2), (0, 2), (0, 1)):
        angle = rng.normal(0, np.radians(2.5))
        turn = np.eye(3)
        turn[[i, j], [i, j]] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    size = _RELATIVE_SIZE * rng.normal(1, 0.025) * rng.normal(1, 0.025, 3)
    bends = [
        (knot_mm, size_mm, [noise_lattice(rng, knot_mm) for _ in range(3)])
        for knot_mm, size_mm in ((45.0, 3.0), (18.0, 1.5), (8.0, 0.6))
    ]
    return Warp((matrix / size).tolist(), bends)


def _sample(volume: np.ndarray, points: np.ndarray) -> np.ndarray:
    return ndimage.map_coordinates(volume, points, order=1, prefilter=False)


class Survey(NamedTuple):
    """A first look at a warped head: the box of its brain, and where gliomas can begin."""

    low_mm: np.ndarray  # (3,)
    high_mm: np.ndarray  # (3,)
    sites_mm: np.ndarray  # (N, 3)


def survey_head(maps: TissueMaps, warp: Warp, step_mm: float = 4.0) -> Survey:
    """Looks at a coarse grid over the whole field of view."""
    points = warp.atlas_points(
        tuple(np.arange(0, extent, step_mm, np.float32) for extent in FIELD_OF_VIEW_MM)
    )
    brain = np.argwhere(_sample(maps.brain, points) > 0.2)
    # Gliomas of adults sit in the white matter of one hemisphere, above the cerebellum.
    x, y, z = (p - origin for p, origin in zip(points, _MNI_ORIGIN, strict=True))
    cerebrum = (z > 2) | ((z > -25) & (y > -35) & (np.abs(x) > 25))
    deep_white = (_sample(maps.white, points) > 0.8) & (_sample(maps.ventricles, points) < 0.02)
    sites = np.argwhere(cerebrum & (np.abs(x) > 14) & deep_white)
    margin_mm = 1.5 * step_mm
    return Survey(
        step_mm * brain.min(0) - margin_mm, step_mm * brain.max(0) + margin_mm, step_mm * sites
    )


class Anatomy(NamedTuple):
    """Tissue on the patient's grid, each (X, Y, Z) float32 in [0, 1] unless said otherwise.

    Attributes:
      inside: bool, what skull stripping has left.
      white: 0 grey .. 1 white matter.
      sulci: fluid between the gyri and around the brain.
      ventricles: fluid of the lateral ventricles.
      near_ventricles: closeness to them.
      edge: 1 on the brain's surface.
    """

    inside: np.ndarray
    white: np.ndarray
    sulci: np.ndarray
    ventricles: np.ndarray
    near_ventricles: np.ndarray
    edge: np.ndarray


def shape_anatomy(
    rng: np.random.Generator, maps: TissueMaps, warp: Warp, age: float, axes: Axes
) -> Anatomy:
    """Shapes a head on the grid `axes`; `age` 0 .. 1 widens its sulci and ventricles."""
    points = warp.atlas_points(axes)
    brain = _sample(maps.brain, points)
    head = brain > 0.2
    points = points[:, head]
    fluid, white, near = np.ones_like(brain), np.zeros_like(brain), np.zeros_like(brain)
    fluid[head] = _sample(maps.fluid, points)
    white[head] = _sample(maps.white, points)
    near[head] = _sample(maps.ventricles, points)

    fine, slow = (smooth_noise(rng, axes, knot_mm) for knot_mm in (5.0, 40.0))
    opening = 0.1 * age + 0.06 * slow + 0.05 * fine
    wall = 0.45 - 0.25 * age + 0.05 * slow
    return Anatomy(
        inside=brain > 0.45 + 0.08 * slow + 0.06 * fine,
        white=np.clip(0.5 + 1.7 * (white - 0.5) + 0.06 * fine, 0, 1),
        sulci=ramp(fluid + opening, 0.22, 0.75),
        ventricles=ramp(near - wall, -0.05, 0.08),
        near_ventricles=near,
        edge=ramp(0.9 - brain, 0, 0.3),
    )

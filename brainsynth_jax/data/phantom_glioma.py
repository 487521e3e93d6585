"""The phantom's glioma.

The oedema is where a Fisher-KPP wave has arrived, which runs fast in white matter, slowly in grey
and not at all in fluid (Swanson, Alvord and Murray, Cell Prolif. 33, 2000). Inside it lies a
lobulated core, with or without an enhancing rim.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from brainsynth_jax.data.phantom_anatomy import Anatomy
from brainsynth_jax.data.random_fields import Axes, expand, open_grid, ramp, smooth_noise


class GliomaPlan(NamedTuple):
    """What glioma a patient has, before any voxel.

    Attributes:
      site_mm: where it began.
      volume_mm3: of the oedema with what it surrounds.
      core_share: of that volume, 0 .. 1.
      rim_mm: mean thickness of the enhancing rim; 0 where there is none.
      mass: 0 .. 1, how strongly it pushes its surroundings away.
    """

    site_mm: tuple[float, ...]
    volume_mm3: float
    core_share: float
    rim_mm: float
    mass: float

    @property
    def radius_mm(self) -> float:
        """Of the ball of the same volume."""
        return (0.75 / np.pi * self.volume_mm3) ** (1 / 3)


class Glioma(NamedTuple):
    """Shares of each voxel, (X, Y, Z) float32 in [0, 1].

    Attributes:
      swelling: oedema.
      core: necrosis or solid tumour, rim included; it replaces the oedema.
      rim: the part of the core that enhances.
    """

    swelling: np.ndarray
    core: np.ndarray
    rim: np.ndarray


def draw_glioma_plan(rng: np.random.Generator, sites_mm: np.ndarray) -> GliomaPlan:
    """Draws one at one of `sites_mm` (N, 3); sizes follow those of BraTS 2021."""
    core_share = 0.02 + 0.85 * rng.beta(1.1, 1.6)
    return GliomaPlan(
        site_mm=tuple(sites_mm[rng.integers(len(sites_mm))].tolist()),
        volume_mm3=1000 * float(np.clip(rng.lognormal(np.log(95), 0.6), 20, 230)),
        core_share=core_share,
        rim_mm=rng.uniform(1.5, 5) if rng.random() < 0.65 else 0.0,
        mass=rng.uniform(0.15, 0.3) + 0.3 * core_share,
    )


def _pool(volume: np.ndarray, width: int) -> np.ndarray:
    """Means of cubes of `width` voxels; what is left over at the far ends is dropped."""
    blocks = [n // width for n in volume.shape]
    trimmed = volume[tuple(slice(n * width) for n in blocks)]
    return trimmed.reshape([m for n in blocks for m in (n, width)]).mean((1, 3, 5))


def _wave_arrival(
    diffusion: np.ndarray, start: tuple[int, ...], voxels: float, growth: float = 0.22
) -> np.ndarray:
    """When a Fisher-KPP wave, du/dt = div(D grad u) + growth u (1 - u), reaches each voxel.

    Args:
      diffusion: (X, Y, Z) per step in voxels^2, at most 1/6; 0 lets nothing through.
      start: the voxel in which it begins.
      voxels: how many it has to reach.
      growth: per step.

    Returns:
      (X, Y, Z) of the same type: 0 at the start, 1 where it arrives last, 1.5 where never.
    """
    density = np.zeros_like(diffusion)
    density[start] = 1
    arrival = np.full_like(diffusion, np.inf)
    conductances = [
        np.minimum(*(diffusion.take(range(k, diffusion.shape[d] - 1 + k), d) for k in (0, 1)))
        for d in range(3)
    ]
    for step in range(400):
        arrival[(density > 0.5) & np.isinf(arrival)] = step
        if np.isfinite(arrival).sum() > voxels:
            break
        change = growth * density * (1 - density)
        for d, conductance in enumerate(conductances):
            flux = conductance * np.diff(density, axis=d)
            change += np.diff(flux, axis=d, prepend=0, append=0)
        density += change
    last = max(arrival[np.isfinite(arrival)].max(), 1)
    return np.minimum(arrival / last, 1.5)


def _magnify(volume: np.ndarray, width: int, shape: tuple[int, ...]) -> np.ndarray:
    """Undoes the size of `_pool`, linear between the cubes' centres."""
    bases = []
    for pooled, full in zip(volume.shape, shape, strict=True):
        t = (np.arange(full) - (width - 1) / 2) / width
        t = np.clip(t, 0, pooled - 1)[:, None] - np.arange(pooled)
        bases.append(np.clip(1 - np.abs(t), 0, None).astype(np.float32))
    return expand(volume, bases)


def grow_glioma(rng: np.random.Generator, plan: GliomaPlan, anatomy: Anatomy, axes: Axes) -> Glioma:
    """Grows the planned glioma into an anatomy on the grid `axes`."""
    spacing_mm = float(axes[0][1] - axes[0][0])
    noise = partial(smooth_noise, rng, axes)
    tissue = anatomy.inside * (1 - np.maximum(anatomy.sulci, anatomy.ventricles))
    voxels = int(plan.volume_mm3 / spacing_mm**3)

    # The wave runs on cubes of about 3 mm; noise gives back the detail.
    width = max(1, round(3 / spacing_mm))
    white, solid = _pool(tissue * anatomy.white, width), _pool(tissue, width)
    diffusion = np.where(solid > 0.5, 0.16 * (0.05 + 0.95 * white), 0)
    start = tuple(
        min(int((c - axis[0]) / (width * spacing_mm)), n - 1)
        for c, axis, n in zip(plan.site_mm, axes, diffusion.shape, strict=True)
    )
    arrival = _wave_arrival(diffusion, start, 1.5 * voxels / width**3)
    arrival = _magnify(ndimage.gaussian_filter(arrival, 0.5), width, tissue.shape)

    # Cortex is spared for longest, which leaves the fingers of oedema in the gyri.
    wobble = noise(7.0)
    front = arrival + 0.06 * wobble + 0.04 * noise(5.0) - 0.25 * (anatomy.white - 0.5)
    front[tissue < 0.5] = np.inf
    swelling = ramp(np.partition(front, voxels, None)[voxels] - front, -0.1, 0.1)

    # The core is a lobulated ball that bends towards where the wave went.
    stretch = rng.lognormal(0, 0.2, 3).tolist()
    from_site = open_grid(axes, plan.site_mm)
    distance_mm = np.sqrt(sum((s * u) ** 2 for s, u in zip(stretch, from_site, strict=True)))
    distance_mm *= 1 + 0.2 * noise(14.0) + 0.06 * wobble
    distance_mm = distance_mm / 1.5 + arrival * plan.radius_mm / 3
    distance_mm[~anatomy.inside | (anatomy.ventricles > 0.5)] = np.inf
    core_voxels = int(plan.core_share * voxels)
    depth_mm = np.partition(distance_mm, core_voxels, None)[core_voxels] - distance_mm
    core = ramp(depth_mm, -0.8, 0.8)
    thickness_mm = plan.rim_mm * np.clip(1 + 0.6 * noise(8.0), 0, None)
    rim = core * ramp(thickness_mm - depth_mm, -0.8, 0.8) if plan.rim_mm else 0 * core
    return Glioma(swelling, core, rim)

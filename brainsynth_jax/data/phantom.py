"""The phantom: made-up patients with a glioma, written as if they were a BraTS release.

The default data of a user who has none. Each patient grows from the ICBM-152 tissue maps
(Fonov et al., NeuroImage 54, 2011) that `nilearn` carries inside its package:

1. a smooth random warp makes the anatomy (phantom_anatomy.py);
2. a glioma grows in it: fingered oedema, a core dark or bright, often an enhancing rim
   (phantom_glioma.py);
3. FLAIR contrast, with bright things that are *not* tumour: periventricular caps, white matter
   lesions, patches of bright cortex, choroid plexus, leftovers at the brain's edge;
4. the scanner: bias field, Rician noise, thick slices, arbitrary units.

Volumes are (X, Y, Z) with axes to the patient's left, back and top, as BraTS stores them.
Positions are in mm from the first voxel; grey levels are relative to white matter.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from brainsynth_jax.data.cache import ensure_folder
from brainsynth_jax.data.nifti import save_volume
from brainsynth_jax.data.phantom_anatomy import (
    Anatomy,
    TissueMaps,
    draw_warp,
    load_tissue_maps,
    shape_anatomy,
    survey_head,
)
from brainsynth_jax.data.phantom_glioma import Glioma, draw_glioma_plan, grow_glioma
from brainsynth_jax.data.random_fields import FIELD_OF_VIEW_MM, Axes, ramp, smooth_noise
from brainsynth_jax.progress import Progress

DEFAULT_SUBJECTS = 20
# Part of the content key: raise it with every change that changes a voxel.
PHANTOM_VERSION = 1
CORE, OEDEMA, ENHANCING = 1, 2, 4

_CONTENT_KEY = "phantom.json"
_MAX_WORKERS = 4  # each needs about half a gigabyte at 1 mm


class PhantomSubject(NamedTuple):
    """One patient, (X, Y, Z) in LPS+ order.

    Attributes:
      flair: int16 scanner units, exactly 0 outside the brain and at least 1 inside.
      labels: uint8, BraTS codes 0, CORE, OEDEMA, ENHANCING.
    """

    flair: np.ndarray
    labels: np.ndarray


def _flair_contrast(
    rng: np.random.Generator, anatomy: Anatomy, glioma: Glioma, age: float, axes: Axes
) -> np.ndarray:
    """Grey levels that a perfect scanner would show; white matter is 1."""
    noise = partial(smooth_noise, rng, axes)
    patches, blobs, spots, slow = noise(16.0), noise(8.0), noise(6.0), noise(40.0)

    cortex = rng.uniform(1.12, 1.28) + 0.06 * blobs + 0.16 * ramp(patches, 1.0, 2.2)
    image = cortex + anatomy.white * (1 + 0.03 * noise(12.0) - cortex)

    # A bright lining and caps of the ventricles, scattered white matter lesions; more with age.
    near_wall = anatomy.near_ventricles * (anatomy.ventricles < 0.9)
    lesions = ramp(spots + 6 * near_wall + 0.5 * slow + age, 2.9, 3.9)
    lesions += rng.uniform(0.2, 0.6) * ramp(near_wall, 0.1, 0.3)
    image += rng.uniform(0.3, 0.6) * lesions * (0.3 + 0.7 * anatomy.white)

    oedema = rng.uniform(1.4, 1.9) + 0.06 * slow + 0.05 * blobs
    image += glioma.swelling * (0.55 + 0.45 * anatomy.white) * (oedema - image)

    # Swollen gyri close the sulci between them.
    sulci = anatomy.sulci * (1 - 0.8 * glioma.swelling)
    image += np.maximum(sulci, anatomy.ventricles) * (rng.uniform(0.15, 0.35) - image)
    image += 0.6 * ramp(blobs, 1.2, 2.0) * anatomy.ventricles  # choroid plexus
    image += anatomy.edge * ramp(patches, 1.2, 1.8) * (1.2 - image)

    # Without a rim it is mostly solid tumour, bright as oedema; with one, mostly necrosis.
    core = rng.uniform(0.65, 1.5) if glioma.rim.any() else rng.uniform(0.95, 1.7)
    core = core + rng.uniform(0.08, 0.22) * (0.7 * blobs + 0.7 * spots)
    rim = rng.uniform(1.3, 1.75) + 0.08 * spots
    return image + glioma.core * (core + glioma.rim * (rim - core) - image)


def _scan(rng: np.random.Generator, image: np.ndarray, axes: Axes) -> np.ndarray:
    """Bias field, Rician noise (Gudbjartsson and Patz, MRM 34, 1995), blur, scanner units."""
    spacing_mm = float(axes[0][1] - axes[0][0])
    bias = 0.1 * smooth_noise(rng, axes, 90.0) + 0.05 * smooth_noise(rng, axes, 40.0)
    blur_mm = np.array([*[rng.uniform(0.4, 0.65)] * 2, rng.uniform(1.0, 2.0)])
    units = 10 ** rng.uniform(2.5, 3.05)
    sigma = rng.uniform(0.08, 0.16) / spacing_mm**1.5
    real, imaginary = (sigma * rng.standard_normal(image.shape, np.float32) for _ in range(2))
    measured = np.hypot(image * np.exp(bias) + real, imaginary)
    return units * ndimage.gaussian_filter(measured, blur_mm / spacing_mm)


def grow_subject(
    maps: TissueMaps, seed: int, index: int, spacing_mm: float = 1.0
) -> PhantomSubject:
    """Grows patient `index` of the phantom `seed`; a pure function of its arguments.

    Args:
      maps: from `load_tissue_maps`.
      seed: of the phantom, 0 or more.
      index: of the patient, 0 or more.
      spacing_mm: voxel size. 1 gives BraTS's (240, 240, 155); 4 is for tests.
    """
    rng = np.random.default_rng([seed, index])
    warp = draw_warp(rng)
    survey = survey_head(maps, warp)
    plan = draw_glioma_plan(rng, survey.sites_mm)
    warp = warp._replace(mass=plan.mass, mass_mm=plan.site_mm, reach_mm=1.1 * plan.radius_mm)
    age = rng.uniform(0, 1)

    # Everything else happens in the box of the brain, less than half the field of view.
    shape = tuple(math.ceil(extent / spacing_mm) for extent in FIELD_OF_VIEW_MM)
    low = np.clip(survey.low_mm // spacing_mm, 0, None).astype(int)
    high = np.minimum(survey.high_mm // spacing_mm + 1, shape).astype(int)
    axes = tuple(
        np.arange(a, b, dtype=np.float32) * spacing_mm for a, b in zip(low, high, strict=True)
    )
    anatomy = shape_anatomy(rng, maps, warp, age, axes)
    glioma = grow_glioma(rng, plan, anatomy, axes)
    image = _scan(rng, _flair_contrast(rng, anatomy, glioma, age, axes), axes)

    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    flair, labels = np.zeros(shape, np.int16), np.zeros(shape, np.uint8)
    flair[box] = np.where(anatomy.inside, np.maximum(np.rint(image), 1), 0)
    for share, code in zip(glioma, (OEDEMA, CORE, ENHANCING), strict=True):
        labels[box][anatomy.inside & (share > 0.5)] = code
    return PhantomSubject(flair, labels)


def _write_subject(
    folder: Path, maps: TissueMaps, seed: int, index: int, spacing_mm: float
) -> None:
    subject = grow_subject(maps, seed, index, spacing_mm)
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[1, 3] = FIELD_OF_VIEW_MM[1] - 1  # the origin of BraTS 2021's own files
    name = f"Phantom_{index + 1:03d}"
    (folder / name).mkdir()
    save_volume(folder / name / f"{name}_flair.nii.gz", subject.flair, affine)
    save_volume(folder / name / f"{name}_seg.nii.gz", subject.labels, affine)


def write_phantom(
    cache_dir: Path,
    subjects: int = DEFAULT_SUBJECTS,
    seed: int = 0,
    show_progress: bool = True,
    spacing_mm: float = 1.0,
) -> Path:
    """The phantom as a BraTS 2021 release, `Phantom_001/Phantom_001_flair.nii.gz`, ...

    It is made once, all or nothing, and then taken from the cache.

    Args:
      cache_dir: where it is kept, in a folder named after what follows.
      subjects: how many; patient k is the same whatever their number.
      seed: 0 or more.
      show_progress: whether to tell how far it is.
      spacing_mm: voxel size; see `grow_subject`.

    Returns:
      The release's folder.

    Raises:
      UserError: the cache cannot be written, or is damaged.
    """
    name = f"{subjects}-subjects-of-seed-{seed}-at-{spacing_mm:g}-mm"
    folder = Path(cache_dir) / f"phantom-{PHANTOM_VERSION}" / name

    def make(unfinished: Path) -> None:
        maps = load_tissue_maps()
        write = partial(_write_subject, unfinished, maps, seed, spacing_mm=spacing_mm)
        with (
            ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as workers,
            Progress("Growing the phantom", subjects, "subject", shown=show_progress) as progress,
        ):
            for _ in workers.map(write, range(subjects)):
                progress.advance()

    ensure_folder(folder, make)
    return folder

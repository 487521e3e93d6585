"""What reading costs: scans into slices, and slices into batches."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from brainsynth_jax.data.nifti import save_volume
from brainsynth_jax.data.pipeline import BATCHES_AHEAD, Batch, make_batches, make_image_batches
from brainsynth_jax.data.prepared import SliceDataset, prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise

# A BraTS release's.
_SHAPE, _SPACING_MM = (240, 240, 155), 1.0
_BATCHES = 200


def write_subjects(folder: Path, count: int) -> None:
    """Made-up patients in a BraTS release's layout and size: a noisy head with a tumour.

    Args:
        folder: made here.
        count: patients.
    """
    rng = np.random.default_rng(0)
    axes = np.ogrid[tuple(slice(-1, 1, side * 1j) for side in _SHAPE)]
    x, y, z = axes
    head = (x / 0.6) ** 2 + (y / 0.75) ** 2 + (z / 0.85) ** 2 < 1
    affine = np.diag([-_SPACING_MM, -_SPACING_MM, _SPACING_MM, 1.0])
    for number in range(1, count + 1):
        place = rng.uniform(-0.2, 0.2, 3)
        distance = sum((axis - shift) ** 2 for axis, shift in zip(axes, place, strict=True))
        labels = np.where(distance < 0.05, 2, 0) + np.where(distance < 0.02, 2, 0)
        image = head * (rng.normal(300, 40, _SHAPE) + 200 * (labels > 0))
        name = f"BraTS2021_{number:05d}"
        path = folder / name
        path.mkdir(parents=True)
        save_volume(path / f"{name}_flair.nii.gz", image.astype(np.int16), affine)
        save_volume(path / f"{name}_seg.nii.gz", labels.astype(np.uint8), affine)


def time_preparation(folder: Path, cache_dir: Path) -> tuple[SliceDataset, float]:
    """The prepared slices of `write_subjects`, and the seconds that a patient took."""
    source = recognise(folder, "flair")
    start = time.perf_counter()
    dataset = prepare_slices(source, SliceOptions(), cache_dir, show_progress=False)
    seconds = time.perf_counter() - start
    return dataset, seconds / len(dataset.train_subjects + dataset.test_subjects)


def time_pair_batches(dataset: SliceDataset, batch_size: int) -> list[float]:
    """Seconds until each of many training batches of the CycleGAN was there, nothing else done."""
    batches = make_batches(dataset, "tumor_in_brain", "whole", batch_size, seed=0)
    return _time_batches(batches, 1)


def time_image_batches(dataset: SliceDataset, batch_size: int) -> list[float]:
    """The same of the DCGAN's, after the first pass, from which slices are kept."""
    batches = make_image_batches(dataset.train_a, batch_size, seed=0)
    return _time_batches(batches, len(dataset.train_a) // batch_size + BATCHES_AHEAD)


def _time_batches(batches: Iterator[Batch], first: int) -> list[float]:
    for _ in range(first):
        next(batches)
    seconds = []
    for _ in range(_BATCHES):
        start = time.perf_counter()
        next(batches)
        seconds.append(time.perf_counter() - start)
    return seconds

"""Makers of prepared slices and of parts of them, all heads different, without any file."""

import numpy as np
from scipy.ndimage import gaussian_filter

from brainsynth_jax.data.masks import BRAIN, NONE, TUMOR
from brainsynth_jax.data.slice_measures import measure_part

SIDE = 64


def draw_head(seed=0, centre=(0.5, 0.5), size=(0.7, 0.5), level=130.0, contrast=40.0, side=SIDE):
    """(side, side) uint8, an ellipse of smooth texture on black; places and sizes are shares."""
    texture = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), side / 16)
    places = (np.arange(side) + 0.5) / side
    rows, columns = np.meshgrid(places, places, indexing="ij")
    inside = sum(
        ((axis - middle) * 2 / length) ** 2
        for axis, middle, length in zip((rows, columns), centre, size, strict=True)
    )
    values = level + contrast * texture / texture.std()
    return np.where(inside < 1, np.clip(values, 1, 254), 0).astype(np.uint8)


def make_record(levels, subject="S1", number=0, tumor=None):
    """A prepared slice of these grey levels; brain where they are not 0, tumour where said."""
    tissue = np.where(levels > 0, BRAIN, NONE).astype(np.uint8)
    if tumor is not None:
        tissue[tumor] = TUMOR
    return {
        "image": levels[..., None],
        "tissue": tissue[..., None],
        "subject": subject,
        "slice_number": number,
        "intensity_offset": 130.0,
        "intensity_scale": 130.0,
        "brain_median": 130.0,
    }


def make_part(name, slices, kind="picture"):
    """A part of grey pictures, patient -> slices; the tumour of scans is in the middle."""
    middle = np.zeros((SIDE, SIDE), bool)
    middle[28:36, 28:36] = True
    records, patients = [], []
    for patient, pictures in slices.items():
        for number, levels in enumerate(pictures):
            subject = patient if kind == "scan" else f"{patient}_{number}"
            records.append(make_record(levels, subject, number, middle))
            patients.append(patient)
    return measure_part(name, records, kind, patients)

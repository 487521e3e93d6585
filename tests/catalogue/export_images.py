"""A catalogue of small images that a test can export."""

import csv

import made_images
import numpy as np

from brainsynth_jax.catalogue.catalogue import Catalogue, NewImage, Scores
from brainsynth_jax.catalogue.exports.folder import export
from brainsynth_jax.catalogue.exports.formats import choose_format
from brainsynth_jax.catalogue.exports.selection import select
from brainsynth_jax.catalogue.filters import EVERYTHING
from brainsynth_jax.catalogue.image_files import Pixels

SIZE = 32
SPACING_MM = [5.0, 1.5, 2.0]
ORIGIN = made_images.ORIGIN._replace(
    model="cyclegan-ba",
    run="runs/cyclegan-001",
    code_version="0.1.0+16dcb76",
    options={"flags": {"modality": "flair", "data_dir": "/home/doe/scans"}, "drawing": {}},
    spacing_mm=SPACING_MM,
)


def make_image(number, masked=True, codes=(2, 3, 4), size=SIZE, **scores):
    """A head with noise in it, no side like the other, and a tumour of these codes in rings."""
    rng = np.random.default_rng(number)
    rows, columns = np.meshgrid(*2 * [np.linspace(-1, 1, size)], indexing="ij")
    head = rows**2 + columns**2 < 0.8
    image = np.where(head, rng.integers(60, 256, (size, size)), 0).astype(np.uint8)
    mask = head.astype(np.uint8)
    distance = np.hypot(rows + 0.3, columns - 0.2) * rng.uniform(0.8, 1.2, (size, size))
    for code, radius in zip(codes, (0.4, 0.25, 0.15), strict=False):
        mask[distance < radius] = code
    return NewImage(0, number, Pixels(image, mask if masked else None), Scores(**scores))


def fill(folder, images, origin=ORIGIN):
    """A catalogue in this folder, which may be there already, with these images."""
    catalogue = Catalogue(str(folder / "catalogue.sqlite"), folder / "images")
    sum(catalogue.add(origin, images))
    return catalogue


def write(catalogue, folder, name, *, wanted=EVERYTHING, stacked=False, suspected=False, share=0.0):
    """Exports as the script does; returns what was said."""
    form = choose_format(name, stacked)
    selection = select(catalogue, wanted, suspected, form.needs_mask)
    return export(catalogue, selection, form, folder, share)


def read_table(path, delimiter=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))

"""Images of noise to fill a catalogue with."""

import numpy as np

from brainsynth_jax.catalogue.catalogue import NewImage, Origin, Scores
from brainsynth_jax.catalogue.image_files import Pixels

ORIGIN = Origin(
    model="dcgan",
    run="runs/dcgan-001",
    step=10,
    checkpoint_hash="c" * 64,
    code_version="0.1.0",
    options={"flags": {"modality": "flair", "width": 8}, "drawing": {}},
    data_fingerprint="f" * 64,
    subjects=["a" * 64, "b" * 64],
    spacing_mm=[5.0, 1.0, None],
)


def make_image(number, seed=0, masked=False, **scores):
    rng = np.random.default_rng([seed, number])
    image, mask = rng.integers(0, 256, (2, 16, 16), np.uint8)
    return NewImage(seed, number, Pixels(image, mask % 3 if masked else None), Scores(**scores))


def make_images(count, **settings):
    return [make_image(number, **settings) for number in range(count)]


def add(catalogue, images, origin=ORIGIN):
    return sum(catalogue.add(origin, images))

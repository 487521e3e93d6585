"""Simple pictures for real and for synthetic slices."""

import numpy as np

from brainsynth_jax.evaluation.samples import RealSlices


def discs(seed, count, subjects):
    """Soft discs with a bright spot, different in each image and a little in each subject."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    images, names = [], []
    for index in range(count):
        subject = index % subjects
        wide, x, y = rng.normal([0.7 + 0.02 * subject, 0, 0], [0.03, 0.2, 0.2])
        disc = 1 / (1 + np.exp(20 * (np.hypot(rows, columns * 1.2) - wide)))
        spot = 0.6 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.02)
        noise = 0.03 * rng.normal(size=rows.shape)
        images.append(np.clip(disc * (0.9 + spot + noise) - 1, -1, 1))
        names.append(f"{seed}-{subject}")
    return RealSlices(np.float32(images)[..., None], names)

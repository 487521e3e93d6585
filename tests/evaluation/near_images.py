"""Images that are alike, and ways to disguise one."""

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from brainsynth_jax.evaluation.neighbours import (
    Slices,
    coarsen,
)


def draw_images(count, side=64, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    smooth = gaussian_filter(noise, (0, side / 16, side / 16))
    return np.clip(smooth / smooth.std() / 3, -1, 1)[..., None].astype(np.float32)


def patients(count, each, seed):
    """Slices of one patient are alike."""
    own = np.repeat(draw_images(count, seed=seed), each, axis=0)
    names = [f"{seed}-{subject}" for subject in np.repeat(np.arange(count), each)]
    return own + 0.5 * draw_images(count * each, seed=seed + 1), names


def moved(images, down, right):
    return shift(images, (0, down, right, 0), order=0, cval=-1)


def block_means(images, size):
    count, side = images.shape[:2]
    return images.reshape(count, size, side // size, size, side // size).mean(axis=(2, 4))


def look(images, subjects=()):
    projection = np.random.default_rng(0).normal(size=(256, 20))
    return Slices(coarsen(images), block_means(images, 16).reshape(-1, 256) @ projection, subjects)

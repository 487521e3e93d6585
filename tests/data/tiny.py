"""Makers of tiny scans and pictures in the true formats."""

from pathlib import Path

import numpy as np
from PIL import Image

# As BraTS ships: axes to the left, the back, the top.
LPS = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 23], [0, 0, 1, 0], [0, 0, 0, 1]])
SHAPE = (20, 24, 9)


def grow_scan(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """A skull-stripped ball of brain with a bright tumour in the middle slices, BraTS labels."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    brain = (grid**2).sum(axis=0) < 0.7
    radius = ((grid - np.array([0.2, 0.1, 0])[:, None, None, None]) ** 2).sum(axis=0)
    labels = np.where(radius < 0.1, 2, 0)
    labels[(radius < 0.16) & brain & (rng.random(shape) < 0.3)] = 2  # no two alike
    labels[radius < 0.05] = 1
    labels[radius < 0.02] = 4
    flair = np.where(brain, rng.normal(500, 40, shape) + 200 * (labels > 0), 0)
    return flair.astype(np.int16), labels.astype(np.uint8)


def grow_picture(seed: int = 0, size: tuple[int, int] = (40, 32)) -> tuple[np.ndarray, np.ndarray]:
    """A head with noise around it, uint8, and a mask of 0 and 255."""
    rng = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    mask = (rows - 0.2) ** 2 + columns**2 < 0.08
    head = rows**2 + columns**2 < 0.7
    picture = np.where(head, rng.normal(90, 8, size) + 80 * mask, rng.integers(0, 4, size))
    return picture.astype(np.uint8), (255 * mask).astype(np.uint8)


def save_picture(path: Path, array: np.ndarray, **settings) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **settings)
    return path

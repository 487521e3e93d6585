"""An image of the catalogue as files: a grey PNG, and beside it another one of its mask."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brainsynth_jax.data.pictures import load_grey, save_levels
from brainsynth_jax.errors import UserError


class Pixels(NamedTuple):
    """What is seen of an image.

    Attributes:
        image: (S, S) uint8, black to white.
        mask: (S, S) uint8, codes of `data.masks`; None where there is none.
    """

    image: np.ndarray
    mask: np.ndarray | None = None


def content_hash(pixels: Pixels) -> str:
    """What tells whether two images are the same, pixel by pixel, and their masks."""
    digest = hashlib.sha256()
    for part in pixels:
        described = "none" if part is None else f"{part.shape}"
        digest.update(described.encode() + (b"" if part is None else part.tobytes()))
    return digest.hexdigest()


def file_names(number: int) -> tuple[str, str]:
    """Those of an image and of its mask, by its place among the images of its seed."""
    return f"{number:06d}.png", f"{number:06d}-mask.png"


def save_pixels(folder: Path, number: int, pixels: Pixels) -> None:
    """Writes an image, and its mask where it has one.

    Raises:
        UserError: the disk refuses.
    """
    for name, levels in zip(file_names(number), pixels, strict=True):
        if levels is not None:
            save_levels(folder / name, levels)


def load_pixels(folder: Path, number: int, has_mask: bool) -> Pixels:
    """What `save_pixels` wrote.

    Raises:
        UserError: a file is missing or damaged.
    """
    image, mask = file_names(number)
    wanted = [image, mask] if has_mask else [image]
    for name in wanted:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: this image is missing. Was it moved or deleted?")
    return Pixels(*(load_grey(folder / name).astype(np.uint8) for name in wanted))

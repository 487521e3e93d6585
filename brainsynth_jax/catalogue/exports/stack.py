"""Several images as one array."""

from collections.abc import Sequence

import numpy as np

from brainsynth_jax.catalogue.exports.items import Item
from brainsynth_jax.errors import UserError

_PROPERTIES = {
    "size": lambda item: "{1} x {0} pixels".format(*item.pixels.image.shape),
    "modality": lambda item: item.modality,
    "spacing": lambda item: f"{item.row.origin.spacing_mm} mm",
}


def check_alike(flag: str, first: Item, item: Item, properties: Sequence[str]) -> None:
    """Raises UserError where two images differ so that they cannot be in one array.

    Args:
        flag: that wants them in one, as it is written.
        first: of them.
        item: another one.
        properties: of _PROPERTIES, in which they have to be alike.
    """
    for name in properties:
        one, other = (_PROPERTIES[name](each) for each in (first, item))
        if one != other:
            raise UserError(
                f"{flag}: images of one {name} are needed, and image {first.row.id} has {one}, "
                f"image {item.row.id} {other}. Choose those of one run by --run, or export them "
                "otherwise."
            )


def stack_pixels(items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Images of one size, at least one, and their masks, 0 without one: (N, S, S) uint8 each."""
    images = np.stack([item.pixels.image for item in items])
    masks = np.zeros_like(images)
    for number, item in enumerate(items):
        if item.pixels.mask is not None:
            masks[number] = item.pixels.mask
    return images, masks

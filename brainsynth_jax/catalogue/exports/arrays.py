"""Images as arrays in one file, and what is known of them as a table."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from brainsynth_jax.catalogue.exports.items import ABOUT_CODES, USE, Item, describe_item
from brainsynth_jax.catalogue.exports.stack import check_alike, stack_pixels
from brainsynth_jax.catalogue.exports.tables import open_table

ABOUT = f"""\
* `images.npz` is read by `numpy.load`. `images` are (N, rows, columns) of 0 to 255, black to white,
  row 0 anterior, column 0 the patient's right; `masks` are all 0 where `has_mask` is False, and
  else codes: {ABOUT_CODES}. `ids` and `labelled` are as in the table, in the same order."""


def write_arrays(folder: Path, items: Iterable[Item]) -> None:
    """Writes images.npz and images.csv; all images are held in memory.

    Raises:
        UserError: they are of several sizes.
        OSError: the disk refuses.
    """
    kept = []
    with open_table(folder / "images.csv") as add:
        for item in items:
            kept.append(item)
            check_alike("--format=numpy", kept[0], item, ("size",))
            add(describe_item(item))
    images, masks = stack_pixels(kept)
    np.savez_compressed(
        folder / "images.npz",
        images=images,
        masks=masks,
        has_mask=np.array([item.row.has_mask for item in kept]),
        labelled=np.array([item.labelled for item in kept]),
        ids=np.array([item.row.id for item in kept], np.int64),
        use=USE,
    )

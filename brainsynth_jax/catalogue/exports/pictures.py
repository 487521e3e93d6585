"""Images as pictures, and what is known of them as a table."""

from collections.abc import Iterable
from pathlib import Path

from brainsynth_jax.catalogue.exports.items import ABOUT_CODES, USE, Item, describe_item
from brainsynth_jax.catalogue.exports.tables import open_table
from brainsynth_jax.data.pictures import save_levels

ABOUT = f"""\
* `images/` holds a grey PNG for each image: row 0 is anterior, column 0 the patient's right.
* `masks/` holds a PNG of the same name for each that has a mask. A viewer shows it almost black,
  for its grey levels are codes: {ABOUT_CODES}."""


def write_pictures(folder: Path, items: Iterable[Item]) -> None:
    """Writes images/NUMBER.png, masks/NUMBER.png where there is one, and images.csv.

    Raises:
        UserError, OSError: the disk refuses.
    """
    with open_table(folder / "images.csv") as add:
        for item in items:
            files = {"image_file": f"images/{item.name}.png", "mask_file": None}
            save_levels(folder / files["image_file"], item.pixels.image, comment=USE)
            if item.pixels.mask is not None:
                files["mask_file"] = f"masks/{item.name}.png"
                save_levels(folder / files["mask_file"], item.pixels.mask, comment=USE)
            add(files | describe_item(item))

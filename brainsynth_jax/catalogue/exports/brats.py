"""Images with masks as volumes of one slice, named and labelled as BraTS was up to 2022."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from brainsynth_jax.catalogue.exports.items import USE, Item, describe_item
from brainsynth_jax.catalogue.exports.tables import open_table
from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA, TUMOR
from brainsynth_jax.data.nifti import save_slices

# A tumour of unknown class counts for BraTS's "whole tumour", and claims to be nothing more.
_LABELS = {CORE: 1, OEDEMA: 2, ENHANCING: 4, TUMOR: 2}

CAUTION = (
    "BraTS has four modalities of each patient; here is the one that was drawn. Tumour of unknown "
    "class has label 2, which is oedema's."
)
ABOUT = """\
`SYN-NUMBER/SYN-NUMBER_MODALITY.nii.gz` is a volume of one slice in RAS+ order, with its middle at
0 mm; `SYN-NUMBER_seg.nii.gz` holds BraTS's labels up to 2022: 1 necrotic and non-enhancing core,
2 oedema, 4 enhancing tumour, 0 all else. Where the size of a pixel is not known it is written as
1 mm. `images.csv` has a row for each image:"""


def write_brats(folder: Path, items: Iterable[Item]) -> None:
    """Writes a folder for each image, and images.csv.

    Args:
        folder: that is filled.
        items: all of them with masks.

    Raises:
        OSError: the disk refuses.
    """
    labels = np.zeros(256, np.uint8)
    for code, label in _LABELS.items():
        labels[code] = label
    with open_table(folder / "images.csv") as add:
        for item in items:
            name = f"SYN-{item.name}"
            (folder / name).mkdir()
            for kind, levels in (
                (item.modality, item.pixels.image.astype(np.int16)),  # as BraTS stores it
                ("seg", labels[item.pixels.mask]),
            ):
                path = folder / name / f"{name}_{kind}.nii.gz"
                save_slices(path, levels[None], item.spacing_mm, comment=USE)
            add({"subject": name, **describe_item(item)})

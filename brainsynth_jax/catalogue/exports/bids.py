"""Images as NIfTI in the folders of the Brain Imaging Data Structure (BIDS).

Specification: https://bids-specification.readthedocs.io, version 1.10: a raw data set, and in
derivatives/masks a derivative one with the discrete segmentations.
"""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from brainsynth_jax.catalogue.exports.items import (
    COLUMNS,
    MASK_CODES,
    USE,
    Item,
    describe_item,
    describe_making,
)
from brainsynth_jax.catalogue.exports.stack import check_alike, stack_pixels
from brainsynth_jax.catalogue.exports.tables import open_table
from brainsynth_jax.data.nifti import save_slices
from brainsynth_jax.files import write_json

ABOUT = """\
The folder is in the form of BIDS 1.10: images in `sub-NUMBER/anat/`, masks in
`derivatives/masks/`, each with a JSON file beside it that says what made it. Each image is a volume
of one slice, in RAS+ order, with its middle at 0 mm. Where the size of a pixel is not known it is
written as 1 mm. `participants.tsv` has a row for each image:"""

ABOUT_STACK = """\
The folder is in the form of BIDS 1.10. All images are the slices of one volume, in RAS+ order,
`sub-synthetic/anat/`; they were drawn one by one, and slices that lie beside each other have
nothing to do with each other. Their masks are in `derivatives/masks/`, 0 for an image without one.
The JSON file beside the volume says under `Slices` what is known of each, in order. Where the size
of a pixel is not known it is written as 1 mm. Of each image it tells:"""

_VERSION = "1.10.0"
_ENDINGS = {"flair": "FLAIR", "t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w"}
_MASKS = Path("derivatives", "masks")
_NOT_APPLICABLE = "n/a"
_STACK = "sub-synthetic"


def write_bids(folder: Path, items: Iterable[Item]) -> None:
    """Writes a volume for each image.

    Raises:
        UserError, OSError: the disk refuses.
    """
    with open_table(folder / "participants.tsv", "\t", _NOT_APPLICABLE) as add:
        for item in items:
            name = f"sub-{item.name}"
            masks = None if item.pixels.mask is None else item.pixels.mask[None]
            about = {"Description": f"Slice {describe_making(item.row)}.", **describe_item(item)}
            _write_volumes(folder, name, item, item.pixels.image[None], masks, about)
            add({"participant_id": name, **describe_item(item)})
    _write_descriptions(folder, COLUMNS)


def write_bids_stack(folder: Path, items: Iterable[Item]) -> None:
    """Writes one volume of all images, which are held in memory.

    Raises:
        UserError: they are of several sizes, modalities or spacings.
        OSError: the disk refuses.
    """
    kept = []
    for item in items:
        kept.append(item)
        check_alike("--stacked", kept[0], item, ("size", "modality", "spacing"))
    images, masks = stack_pixels(kept)
    about = {
        "Description": "Slices that have nothing to do with each other, each drawn by itself.",
        "Slices": [describe_item(item) for item in kept],
    }
    any_mask = any(item.row.has_mask for item in kept)
    _write_volumes(folder, _STACK, kept[0], images, masks if any_mask else None, about)
    with open_table(folder / "participants.tsv", "\t", _NOT_APPLICABLE) as add:
        add({"participant_id": _STACK, "images": len(kept)})
    _write_descriptions(folder, {"images": "how many slices the volume has"})


def _write_volumes(
    folder: Path,
    name: str,
    item: Item,
    images: np.ndarray,
    masks: np.ndarray | None,
    about: dict[str, Any],
) -> None:
    """Writes (N, S, S) images and masks as volumes, and a JSON file beside each.

    Args:
        folder: of the data set.
        name: of the subject.
        item: one of the images, for what all share.
        images: slices, uint8.
        masks: codes of `data.masks`; None for none.
        about: what is said of the images.
    """
    ending = _ENDINGS[item.modality]
    image = Path(name, "anat", f"{name}_{ending}.nii.gz")
    said = {"Synthetic": True, "Use": USE, "BodyPart": "BRAIN", **about}
    _write_volume(folder / image, images, item, said)
    if masks is not None:
        entities = ending.rpartition("_")[0]
        stem = "_".join(part for part in (name, entities, "dseg") if part)
        said = {
            "Synthetic": True,
            "Use": USE,
            "Description": "Mask of tumour; its codes are in dseg.tsv.",
            "Manual": False,
            "Sources": [f"bids:raw:{image.as_posix()}"],
        }
        _write_volume(folder / _MASKS / name / "anat" / f"{stem}.nii.gz", masks, item, said)


def _write_volume(path: Path, slices: np.ndarray, item: Item, said: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_slices(path, slices, item.spacing_mm, comment=USE)
    write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), said)


def _write_descriptions(folder: Path, columns: dict[str, str]) -> None:
    """What BIDS wants of a data set, and of that of its masks, where there are any."""
    made_by = [{"Name": "brainsynth_jax", "Version": version("brainsynth_jax")}]
    described = {
        "Name": "SYNTHETIC brain MR slices, not for diagnosis",
        "BIDSVersion": _VERSION,
        "DatasetType": "raw",
        "GeneratedBy": made_by,
    }
    write_json(folder / "dataset_description.json", described)
    meanings = {name: {"Description": meaning} for name, meaning in columns.items()}
    write_json(folder / "participants.json", meanings)
    if not (folder / _MASKS).exists():
        return
    described |= {
        "Name": "Masks of tumour of SYNTHETIC brain MR slices, not for diagnosis",
        "DatasetType": "derivative",
        "DatasetLinks": {"raw": "../.."},
    }
    write_json(folder / _MASKS / "dataset_description.json", described)
    with open_table(folder / _MASKS / "dseg.tsv", "\t", _NOT_APPLICABLE) as add:
        for code, meaning in MASK_CODES.items():
            add({"index": code, "name": meaning})

"""An image on its way out: its pixels, and what the catalogue knows of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.exports.selection import Selection
from brainsynth_jax.catalogue.image_files import Pixels
from brainsynth_jax.catalogue.tables import ImageRow, OriginRow
from brainsynth_jax.data.masks import BRAIN, CORE, ENHANCING, NONE, OEDEMA, TUMOR
from brainsynth_jax.data.pictures import write_words
from brainsynth_jax.errors import UserError

LABEL = "SYNTHETIC"
USE = "Synthetic image. Research use only; not for diagnosis."

MASK_CODES = {
    NONE: "outside the brain",
    BRAIN: "brain without tumour",
    OEDEMA: "oedema",
    CORE: "necrotic and non-enhancing tumour core",
    ENHANCING: "enhancing tumour",
    TUMOR: "tumour of unknown class",
}

ABOUT_CODES = ", ".join(f"{code} {meaning}" for code, meaning in MASK_CODES.items())

# What is told of each image, and what it means.
COLUMNS = {
    "id": "number in the catalogue",
    "use": "what it is, and what it is not for",
    "content_hash": "SHA-256 of the pixels and the mask as they lie in the catalogue",
    "labelled": f"whether the word {LABEL} was written into the pixels when they left",
    "has_mask": "whether there is a mask",
    "model": "what drew it: dcgan from noise, cyclegan-ba from a mask of tumour",
    "run": "name of the training run",
    "step": "training steps of the network that drew it",
    "checkpoint_hash": "SHA-256 of the network's weights",
    "code_version": "of brainsynth_jax",
    "seed": "of the draw",
    "number": "among the images of its seed",
    "made_at": "when it was drawn, UTC",
    "modality": "of the slices that the network learned from",
    "data_fingerprint": "of the slices that the network learned from",
    "spacing_mm": "between slices, rows and columns, in millimetres; null where unknown",
    "realism": "realism score; 1 or more is among training slices, real ones are often below",
    "copy_distance": "to the training slice that is nearest",
    "copy_verdict": "whether it copies a training slice: fresh, near or suspicious",
    "tumor_pixels": "pixels of tumour in the mask",
    "tumor_row": "centre of the tumour, 0 to 1 from the top",
    "tumor_column": "centre of the tumour, 0 to 1 from the left",
    "reviews": "what people thought of it, as JSON: their verdicts, without names and notes",
}

_DRAWN_BY = {
    "dcgan": "drawn from noise by a DCGAN",
    "cyclegan-ba": "drawn from a mask of tumour by a CycleGAN",
}

_GOLDEN = (5**0.5 - 1) / 2


class Item(NamedTuple):
    """An image that leaves.

    Attributes:
        row: the catalogue's.
        pixels: as they leave, labelled or not.
        labelled: whether LABEL is written in them.
    """

    row: ImageRow
    pixels: Pixels
    labelled: bool

    @property
    def name(self) -> str:
        """Its number, of six digits at least."""
        return f"{self.row.id:06d}"

    @property
    def modality(self) -> str:
        """One of `data.sources.MODALITIES`."""
        return modality_of(self.row.origin)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows and columns; 1 where it is unknown."""
        return tuple(1.0 if mm is None else mm for mm in self.row.origin.spacing_mm)


def load_items(catalogue: Catalogue, selection: Selection, label_share: float) -> Iterator[Item]:
    """The selected images one by one, a share of them labelled.

    Raises:
        UserError: an image is missing or altered, or has no room for the label.
    """
    for row in selection:
        pixels, labelled = catalogue.load(row), is_labelled(row.id, label_share)
        if labelled:
            pixels = pixels._replace(image=_label(row, pixels.image))
        yield Item(row, pixels, labelled)


def modality_of(origin: OriginRow) -> str:
    """Of the slices that the run learned from, one of `data.sources.MODALITIES`."""
    return origin.options["flags"]["modality"]


def is_labelled(image_id: int, share: float) -> bool:
    """Whether an image is among the share that carry the label.

    It is by its number alone, evenly spread over them; a larger share has those of a smaller one,
    so that nobody who exports twice has an image with and without.
    """
    return image_id * _GOLDEN % 1 < share


def describe_item(item: Item) -> dict[str, Any]:
    """What is known of an image: a value for each of COLUMNS, None where it was not measured.

    What it was trained with stays behind, for that may name folders and people; so do the names and
    notes of its reviewers.
    """
    row, origin = item.row, item.row.origin
    told = {"labelled": item.labelled, "modality": item.modality}
    told |= {"use": USE, "made_at": _as_text(row.batch.made_at)}
    told["reviews"] = [review.verdict for review in row.reviews]
    told["run"] = Path(origin.run).name
    for name in COLUMNS:
        if name not in told:
            told[name] = getattr(row if hasattr(row, name) else origin, name)
    return {name: told[name] for name in COLUMNS}


def describe_making(row: ImageRow) -> str:
    """In a sentence, what an image was made by."""
    origin = row.origin
    return (
        f"{_DRAWN_BY[origin.model]} (brainsynth_jax {origin.code_version}, step {origin.step}, "
        f"weights {origin.checkpoint_hash}, seed {row.seed}, image {row.number})"
    )


def in_utc(moment: datetime) -> datetime:
    """A time of the catalogue's, with its zone, which SQLite forgets."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _label(row: ImageRow, image: np.ndarray) -> np.ndarray:
    try:
        return write_words(image, LABEL)
    except UserError as error:
        raise UserError(
            f"--label_share: image {row.id} cannot be labelled: {error} Choose larger images, or "
            "leave the flag out."
        ) from None


def _as_text(moment: datetime) -> str:
    return in_utc(moment).isoformat(timespec="seconds")

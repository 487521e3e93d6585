"""The forms in which images leave."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from brainsynth_jax.catalogue.exports import arrays, bids, brats, pictures
from brainsynth_jax.catalogue.exports.items import Item
from brainsynth_jax.errors import UserError

FORMATS = ("png", "numpy", "nifti", "brats", "dicom")

_TABLE = "\n* `images.csv` has a row for each image:"
_STACKED = "nifti"


class Format(NamedTuple):
    """A form in which images leave.

    Attributes:
        write: fills a folder with them.
        about: what the files are; ends in what COLUMNS tell of each image.
        needs_mask: images without a mask cannot leave so.
        caution: what a user has to know before all.
    """

    write: Callable[[Path, Iterable[Item]], None]
    about: str
    needs_mask: bool = False
    caution: str | None = None


def choose_format(name: str, stacked: bool = False) -> Format:
    """One of FORMATS.

    Args:
        name: of it.
        stacked: all images in one volume.

    Raises:
        UserError: it cannot be stacked, or needs a library that is not installed.
    """
    if stacked and name != _STACKED:
        raise UserError(
            f"--stacked: --format={name} has no volumes of many images. Leave the flag out, or "
            f"give --format={_STACKED}."
        )
    if name == "dicom":
        try:
            from brainsynth_jax.catalogue.exports import dicom  # its library is an extra
        except ImportError as error:
            raise UserError(
                f"--format=dicom needs {error.name}, which is not installed: "
                "pip install -e '.[dicom]'"
            ) from error
        return Format(dicom.write_dicom, dicom.ABOUT)
    if stacked:
        return Format(bids.write_bids_stack, bids.ABOUT_STACK)
    return {
        "png": Format(pictures.write_pictures, pictures.ABOUT + _TABLE),
        "numpy": Format(arrays.write_arrays, arrays.ABOUT + _TABLE),
        "nifti": Format(bids.write_bids, bids.ABOUT),
        "brats": Format(brats.write_brats, brats.ABOUT, needs_mask=True, caution=brats.CAUTION),
    }[name]

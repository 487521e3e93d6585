"""NIfTI volumes in and out: the one place that knows nibabel.

Every volume inside the program is in canonical RAS+ order: array axes x, y, z point to the
patient's right, front and top, whatever order the file stores.
"""

import gzip
import io
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np

from brainsynth_jax.data.scan import Scan
from brainsynth_jax.errors import UserError

# Headers of one scan's two files may differ by rounding, but nowhere in the volume may that add
# up to a tenth of a millimetre.
CORNER_TOLERANCE_MM = 0.1

_UNKNOWN = 255

nibabel.imageglobals.logger.setLevel(logging.ERROR)  # it tells of each header's small faults

# Of one file, all channels together; four of 512 x 512 x 256. A header may claim terabytes.
LARGEST_VOXELS = 2**28

# Some programs pad a file; one that goes on for longer after its last voxel is not what it claims.
_PADDING_BYTES = 2**20
_CHUNK_BYTES = 2**20
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348

_KINDS = (nibabel.Nifti1Image, nibabel.Nifti2Image)


class Volume(NamedTuple):
    """A volume in canonical RAS+ order.

    Attributes:
      array: (X, Y, Z), the file's own data type unless it stores a scale factor.
      spacing_mm: voxel size along x, y, z.
      affine: (4, 4) float64, voxel indices -> scanner millimetres.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray


def load_volume(path: Path, channel: int = 0, channels: int = 1) -> Volume:
    """Reads a 3-D volume, or one channel of a 4-D file, in canonical order.

    Args:
      path: a `.nii` or `.nii.gz` file.
      channel: which of the file's channels to take.
      channels: how many the file has to have: 1 for a 3-D file, else the length of its 4th axis.

    Memory: at most 40 bytes for each voxel of the file, and 4 MiB; what a header claims and the
    file does not hold takes none.

    Raises:
      UserError: missing, truncated or corrupt file, more than `LARGEST_VOXELS`, wrong number of
        dimensions or channels, voxels that are not numbers, NaN or infinite voxels, or an affine
        that can't be inverted.
    """
    path = Path(path)
    try:
        image = _read(path)
        shape = image.shape[:3] + tuple(n for n in image.shape[3:] if n > 1)
        wanted = "three dimensions" if channels == 1 else f"four dimensions, {channels} channels"
        if len(shape) < 3 or shape[3:] != (() if channels == 1 else (channels,)):
            raise UserError(f"{path}: has shape {image.shape}; {wanted} are needed.")
        trailing = len(image.shape) - 3
        at_channel = ((channel,) + (0,) * trailing)[:trailing]
        with np.errstate(all="ignore"):  # a scale factor may take voxels to infinity
            array = np.asarray(image.dataobj[(..., *at_channel)])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions.") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file makes nibabel raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: cannot be read as NIfTI ({reason}); the file is truncated or corrupt, "
            "copy or download it again."
        ) from None
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path}: voxels are of type {array.dtype}; plain numbers are needed.")
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        raise UserError(
            f"{path}: {finite.size - finite.sum()} of {finite.size} voxels are NaN or infinite; "
            "finite numbers are needed."
        )
    if not np.isfinite(image.affine).all() or np.linalg.matrix_rank(image.affine[:3, :3]) < 3:
        raise UserError(
            f"{path}: its affine is singular or not finite, so it places no voxel in space; "
            "correct the header's sform and qform, or convert the scan again from its original."
        )
    canonical = nibabel.as_closest_canonical(
        nibabel.Nifti1Image(array, image.affine, dtype=array.dtype)
    )
    spacing_mm = tuple(float(mm) for mm in nibabel.affines.voxel_sizes(canonical.affine))
    return Volume(np.asanyarray(canonical.dataobj), spacing_mm, canonical.affine)


def save_volume(path: Path, array: np.ndarray, affine: np.ndarray, comment: str = "") -> None:
    """Writes a volume as NIfTI-1, the same bytes for the same input.

    Args:
      path: `.nii`, or `.nii.gz` to compress, fast rather than small.
      array: (X, Y, Z) of a type that NIfTI knows (int16, uint8, float32, ...).
      affine: (4, 4), voxel indices -> scanner millimetres; it also says the axis order.
      comment: words for the header, 79 letters at most.
    """
    path = Path(path)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = comment
    data = image.to_bytes()
    path.write_bytes(
        gzip.compress(data, compresslevel=1, mtime=0) if path.suffix == ".gz" else data
    )


def save_slices(
    path: Path, slices: np.ndarray, spacing_mm: Sequence[float | None], comment: str = ""
) -> None:
    """Writes slices in display orientation as one volume, slice k at the third index k.

    The volume's middle is the scanner's 0.

    Args:
      path: as `save_volume`'s.
      slices: (N, H, W) of a type that NIfTI knows, row 0 anterior, column 0 the patient's right.
      spacing_mm: between slices, rows, columns; 1 where not known (None).
      comment: as `save_volume`'s.
    """
    between, row, column = (1.0 if mm is None else mm for mm in spacing_mm)
    volume = slices.T[::-1, ::-1]  # undoes `_as_slices`
    affine = np.diag([column, row, between, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(volume.shape) - 1) / 2
    save_volume(path, volume, affine, comment)


def load_scan(
    image_path: Path,
    label_path: Path,
    label_codes: Mapping[int, int],
    channel: int = 0,
    channels: int = 1,
) -> Scan:
    """Reads an image volume with its label volume and checks the one against the other.

    Args:
      image_path: the image, 3-D or 4-D.
      label_path: its labels, 3-D.
      label_codes: the file's label value -> the code in `masks`; 0 is always no tumour.
      channel: as `load_volume`'s.
      channels: as `load_volume`'s.

    Raises:
      UserError: as `load_volume`; also an empty image, shapes that differ, volumes that don't
        lie in the same place, and label values other than the known ones.
    """
    image = load_volume(image_path, channel, channels)
    labels = load_volume(label_path)
    if image.array.min() == image.array.max():
        raise UserError(
            f"{image_path}: is empty, every voxel is {image.array.flat[0]}; "
            "an image of a brain is needed."
        )
    if image.array.shape != labels.array.shape:
        raise UserError(
            f"{label_path}: has shape {labels.array.shape} but its image {image_path.name} "
            f"{image.array.shape}; they have to be the same."
        )
    apart_mm = np.linalg.norm(_corners_mm(image) - _corners_mm(labels), axis=1).max()
    if apart_mm > CORNER_TOLERANCE_MM:
        raise UserError(
            f"{label_path}: its corners lie up to {apart_mm:.4g} mm apart from those of its image "
            f"{image_path.name}, at most {CORNER_TOLERANCE_MM} mm is allowed; resample the one to "
            "the other."
        )
    return Scan(
        image=_as_slices(image.array).astype(np.float32),
        labels=_as_slices(_recode(label_path, labels.array, {0: 0, **label_codes})),
        spacing_mm=image.spacing_mm[::-1],
        slice_numbers=np.arange(image.array.shape[2], dtype=np.int32),
    )


def _read(path: Path) -> nibabel.Nifti1Image:
    """The image in a file that holds what its header claims, and not much more."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        kind = next((k for k in _KINDS if k.header_class.may_contain_header(head)), None)
        if kind is None:
            raise ValueError("no NIfTI header")
        header = kind.header_class.from_fileobj(io.BytesIO(head))
        shape = tuple(int(n) for n in header.get_data_shape())
        if not shape or min(shape) < 1:
            raise ValueError(f"shape {shape}")
        voxels = math.prod(shape)
        if voxels > LARGEST_VOXELS:
            raise UserError(
                f"{path}: its header claims {voxels:,} voxels, and at most {LARGEST_VOXELS:,} are "
                "read; if it is a scan, cut or resample it."
            )
        size = int(header.get_data_offset()) + voxels * header.get_data_dtype().itemsize
        # nibabel would stop at the last voxel, before gzip's checksum; to the end it is checked.
        data = bytearray(head)
        while chunk := file.read(_CHUNK_BYTES):  # all at once would take what is claimed
            data += chunk
            if len(data) > size + _PADDING_BYTES:
                raise ValueError(f"it goes on after the {size} bytes that its header claims")
        if len(data) < size:
            raise ValueError(f"{len(data)} bytes of {size}")
    return kind.from_bytes(bytes(data))


def _corners_mm(volume: Volume) -> np.ndarray:
    """Where a volume's eight corners, the outer edges of its voxels, are: (8, 3) scanner mm."""
    corners = np.indices((2, 2, 2)).reshape(3, 8).T * volume.array.shape - 0.5
    return nibabel.affines.apply_affine(volume.affine, corners)


def _as_slices(volume: np.ndarray) -> np.ndarray:
    """(X, Y, Z) in RAS+ order -> (Z, H, W) in display orientation."""
    return np.ascontiguousarray(volume[::-1, ::-1].T)


def _recode(path: Path, labels: np.ndarray, codes: Mapping[int, int]) -> np.ndarray:
    lookup = np.full(256, _UNKNOWN, np.uint8)
    for value, code in codes.items():
        lookup[value] = code
    values = np.clip(labels, 0, 255).astype(np.uint8)
    recoded = lookup[values]
    strange = (recoded == _UNKNOWN) | (values != labels)
    if strange.any():
        found = ", ".join(f"{value:g}" for value in np.unique(labels[strange])[:5])
        raise UserError(
            f"{path}: holds the values {found}, which are no labels; "
            f"{', '.join(map(str, sorted(codes)))} are allowed."
        )
    return recoded

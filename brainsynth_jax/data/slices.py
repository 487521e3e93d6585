"""A scan becomes prepared slices: chosen, scaled, squared and resized.

A prepared slice, or record, is a dict:
  image: (S, S, 1) uint8, 0..255 <-> [-1, 1].
  tissue: (S, S, 1) uint8, the codes in `masks`.
  subject: str.
  slice_number: int, the volume's third index in canonical order.
  spacing_mm: (3,) float32, between slices, rows and columns of the prepared slice; NaN: unknown.
  intensity_offset, intensity_scale: float; scanner units = offset + scale * value in [-1, 1].
  brain_median, brain_std: float, of the whole scan's brain, scanner units.
"""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from brainsynth_jax.data.intensity import (
    BrainStatistics,
    IntensityScale,
    choose_scale,
    find_brain,
    measure_brain,
    to_values,
)
from brainsynth_jax.data.masks import BRAIN, is_tumor
from brainsynth_jax.data.scan import Scan
from brainsynth_jax.errors import UserError

Record = dict[str, Any]

# Of the slice of a scan that shows most brain, a slice without tumour has to show so much: on less,
# there is hardly anything for which a tumour could be taken.
LEAST_BRAIN = 0.25

_PICTURE_SCALE = IntensityScale(127.5, 127.5)
_NO_BRAIN = BrainStatistics(np.nan, np.nan, np.nan, np.nan)


class SliceOptions(NamedTuple):
    """How scans become slices, and who is for training.

    Attributes:
      modality: 'flair', 't1', 't1ce' or 't2'.
      intensity: 'median' or 'percentiles', see `intensity.choose_scale`.
      image_size: side of the prepared slice in pixels.
      field_of_view_mm: side of the square, centred on the scan's brain, that a prepared slice
        shows; None for the whole slice.
      min_tumor_area_pixels: least tumour in a slice, counted in the prepared slice; 0 takes
        slices without tumour as well.
      slices: first and last slice number to take, both included; None for all.
      empty_slices: where above 0, of each subject only so many slices, at most, that have no
        tumour and show LEAST_BRAIN, evenly spread over these.
      test_fraction: share of the patients kept for testing.
      seed: decides with the patients' names who is for testing.
      test_patients: keep the last so many in name order for testing instead, whatever
        `test_fraction` and `seed`; may be 0. None for the share.
      skip_bad_subjects: leave out the subjects that can't be used instead of stopping.
    """

    modality: str = "flair"
    intensity: str = "median"
    image_size: int = 256
    field_of_view_mm: float | None = None
    min_tumor_area_pixels: int = 50
    slices: tuple[int, int] | None = None
    empty_slices: int = 0
    test_fraction: float = 0.2
    seed: int = 0
    test_patients: int | None = None
    skip_bad_subjects: bool = False


def prepare_scan(name: str, scan: Scan, options: SliceOptions) -> list[Record]:
    """The chosen slices of a labelled scan as records, in slice order; may be empty.

    Raises:
      UserError: no brain in it, `options.slices` lies outside it, or a field of view is asked for
        and the size of a pixel is not known.
    """
    chosen = _in_range(scan.slice_numbers, options.slices)
    if not chosen.any():
        first, last = options.slices
        raise UserError(
            f"--slices={first}:{last} lies outside the scan, whose slices are "
            f"{scan.slice_numbers.min()} to {scan.slice_numbers.max()}; give some of these, or all."
        )
    least_area = 0 if options.empty_slices else options.min_tumor_area_pixels
    has_tumor = is_tumor(scan.labels).any(axis=(1, 2))
    brain = find_brain(scan.image)
    if options.empty_slices:
        chosen = _spread(chosen & ~has_tumor & _shows_brain(brain), options.empty_slices)
    elif least_area > 0:
        chosen &= has_tumor
    if options.field_of_view_mm:
        window = _window(brain, scan.spacing_mm, options.field_of_view_mm)
        scan = scan._replace(image=_cut(scan.image, window), labels=_cut(scan.labels, window))
        brain = _cut(brain, window)
    statistics = measure_brain(scan.image, brain)
    scale = choose_scale(statistics, options.intensity)
    records = []
    for z in np.flatnonzero(chosen):
        inside = brain[z] | is_tumor(scan.labels[z])
        values = to_values(scan.image[z], inside, scale)
        tissue = np.where(is_tumor(scan.labels[z]), scan.labels[z], inside * BRAIN)
        tissue = fit_square(tissue.astype(np.uint8), scan.spacing_mm, options.image_size)
        if is_tumor(tissue).sum() < least_area:
            continue
        values = fit_square(values, scan.spacing_mm, options.image_size)
        # Interpolation smears the brain's edge outwards; background is to stay exactly -1.
        values[tissue < BRAIN] = -1
        records.append(_record(name, scan, z, values, tissue, scale, statistics))
    return records


def _shows_brain(brain: np.ndarray) -> np.ndarray:
    areas = brain.sum(axis=(1, 2))
    return (areas > 0) & (areas >= LEAST_BRAIN * areas.max())


def _spread(chosen: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the chosen slices, (Z,) bool: the middles of equal stretches of them."""
    places = np.flatnonzero(chosen)
    middles = ((np.arange(count) + 0.5) * len(places) / count).astype(int)
    spread = np.zeros_like(chosen)
    spread[places[middles] if len(places) else places] = True
    return spread


def _window(
    brain: np.ndarray, spacing_mm: tuple[float, float, float] | None, side_mm: float
) -> tuple[slice, slice]:
    """Rows and columns of the square around the brain; they may reach beyond the slice."""
    if spacing_mm is None:
        raise UserError(
            f"--field_of_view_mm={side_mm:g}: pictures do not say how large a pixel is. Leave it "
            "out (0) to take them whole."
        )
    window = []
    for axis, pixel_mm in ((1, spacing_mm[1]), (2, spacing_mm[2])):
        places = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
        centre = (places[0] + places[-1] + 1) // 2 if places.size else brain.shape[axis] // 2
        count = max(1, round(side_mm / pixel_mm))
        window.append(slice(centre - count // 2, centre - count // 2 + count))
    return tuple(window)


def _cut(volume: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    """(Z, H, W) -> (Z, rows, columns) of the window, 0 where it reaches beyond."""
    inside = [
        slice(max(w.start, 0), min(w.stop, size))
        for w, size in zip(window, volume.shape[1:], strict=True)
    ]
    beyond = [(i.start - w.start, w.stop - i.stop) for i, w in zip(inside, window, strict=True)]
    return np.pad(volume[:, *inside], [(0, 0), *beyond])


def prepare_picture(name: str, scan: Scan, image_size: int, is_mask: bool) -> list[Record]:
    """Pictures of 0..255 that come without masks as records, their grey levels kept.

    Args:
      name: the subject's.
      scan: image 0..255, no labels.
      image_size: side of the prepared slice in pixels.
      is_mask: the pictures are masks, whose grey levels are not to be blended.
    """
    records = []
    for z, picture in enumerate(scan.image):
        values = (picture - _PICTURE_SCALE.offset) / _PICTURE_SCALE.scale
        values = fit_square(values, scan.spacing_mm, image_size, blend=not is_mask)
        tissue = np.zeros(values.shape, np.uint8)
        records.append(_record(name, scan, z, values, tissue, _PICTURE_SCALE, _NO_BRAIN))
    return records


def fit_square(
    picture: np.ndarray,
    spacing_mm: tuple[float, float, float] | None,
    image_size: int,
    blend: bool | None = None,
) -> np.ndarray:
    """Pads a picture to a square in millimetres, centred, and resizes it.

    Args:
      picture: (H, W) float32 in [-1, 1], padded with -1; or uint8 labels, padded with 0.
      spacing_mm: between slices, rows, columns; None for square pixels.
      image_size: side of the result in pixels.
      blend: bilinear with antialiasing instead of the nearest pixel; None: if float.

    Returns:
      (image_size, image_size), the type of `picture`.
    """
    is_float = picture.dtype.kind == "f"
    padded = _pad(picture, squared_shape(picture.shape, spacing_mm), -1 if is_float else 0)
    if padded.shape == (image_size, image_size):
        return padded
    blend = is_float if blend is None else blend
    resample = Image.Resampling.BILINEAR if blend else Image.Resampling.NEAREST
    padded = padded.astype(np.float32) if is_float else padded
    return np.array(Image.fromarray(padded).resize((image_size, image_size), resample))


def squared_shape(
    shape: tuple[int, int], spacing_mm: tuple[float, float, float] | None
) -> tuple[int, int]:
    """Rows and columns of the smallest square in millimetres that holds the picture."""
    _, row_mm, column_mm = spacing_mm or (1.0, 1.0, 1.0)
    side_mm = max(shape[0] * row_mm, shape[1] * column_mm)
    return max(shape[0], round(side_mm / row_mm)), max(shape[1], round(side_mm / column_mm))


def _pad(picture: np.ndarray, shape: tuple[int, int], value: float) -> np.ndarray:
    before = [(to - now) // 2 for to, now in zip(shape, picture.shape, strict=True)]
    after = [to - now - b for to, now, b in zip(shape, picture.shape, before, strict=True)]
    return np.pad(picture, list(zip(before, after, strict=True)), constant_values=value)


def _in_range(slice_numbers: np.ndarray, slices: tuple[int, int] | None) -> np.ndarray:
    if slices is None:
        return np.ones(slice_numbers.shape, bool)
    return (slice_numbers >= slices[0]) & (slice_numbers <= slices[1])


def _record(
    name: str,
    scan: Scan,
    z: int,
    values: np.ndarray,
    tissue: np.ndarray,
    scale: IntensityScale,
    brain: BrainStatistics,
) -> Record:
    spacing_mm = np.full(3, np.nan, np.float32)
    if scan.spacing_mm is not None:
        rows, columns = squared_shape(scan.image.shape[1:], scan.spacing_mm)
        between, row_mm, column_mm = scan.spacing_mm
        size = values.shape[0]
        spacing_mm[:] = between, row_mm * rows / size, column_mm * columns / size
    return {
        "image": np.round((values + 1) * 127.5).astype(np.uint8)[..., None],
        "tissue": tissue[..., None],
        "subject": name,
        "slice_number": int(scan.slice_numbers[z]),
        "spacing_mm": spacing_mm,
        "intensity_offset": scale.offset,
        "intensity_scale": scale.scale,
        "brain_median": brain.median,
        "brain_std": brain.std,
    }

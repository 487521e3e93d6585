"""What a data folder holds, in the program's own words: source, subject, scan.

Every 2-D slice is in display orientation, as a radiologist sees it: row 0 is anterior and
column 0 the patient's right. Slice numbers are a volume's third index in canonical order.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Scan(NamedTuple):
    """One subject as loaded, before its intensities are scaled and its slices resized.

    Attributes:
      image: (Z, H, W) float32, scanner units, display orientation.
      labels: (Z, H, W) uint8 of the tumour codes in `masks`; None where there are no masks.
      spacing_mm: between slices, rows, columns; None where unknown (2-D pictures).
      slice_numbers: (Z,) int32.
    """

    image: np.ndarray
    labels: np.ndarray | None
    spacing_mm: tuple[float, float, float] | None
    slice_numbers: np.ndarray


class Subject(NamedTuple):
    """One scan to be loaded.

    Attributes:
      name: unique in its source.
      patient: whom it shows; scans of one patient are never split between train and test.
      files: what `load` reads; their sizes and times tell whether a cache is still true.
      load: returns the scan; raises UserError where the files can't be used.
    """

    name: str
    patient: str
    files: tuple[Path, ...]
    load: Callable[[], Scan]


class Source(NamedTuple):
    """A data folder, recognised.

    Attributes:
      kind: 'brats', 'decathlon', 'image_mask_folders', 'lgg' or 'cyclegan_folders'.
      root: the folder.
      subjects: those with image and mask, in name order; () where there are `domains`.
      problems: one sentence for each subject that can't be used.
      domains: for 'cyclegan_folders', whose pictures are in no known pairs: the subjects of
        'train_a', 'train_b', 'test_a' and 'test_b'. None for the others.
      has_classes: False where masks only tell tumour from no tumour.
    """

    kind: str
    root: Path
    subjects: tuple[Subject, ...]
    problems: tuple[str, ...]
    domains: Mapping[str, tuple[Subject, ...]] | None
    has_classes: bool

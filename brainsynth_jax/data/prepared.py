"""From a recognised data folder to slices for training and testing, by way of the cache.

What is prepared lies in `CACHE_DIR/slices/KEY`, where KEY is a hash of the source files' names,
sizes and times, of the options and constants that shape a slice, and of PREPARATION_VERSION. So
a changed source or option never meets an old cache. The division in train and test is not in it:
it is made at opening, and a new seed or fraction needs no new preparation.

A dataset's fingerprint follows what was prepared instead, so the same scans have the same one
wherever and whenever they were copied.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainsynth_jax.data import intensity
from brainsynth_jax.data.cache import damaged
from brainsynth_jax.data.preparation import (
    CONTENTS,
    PAIRED,
    RECORDS,
    NoSlices,
    SubjectSlices,
    prepare_folder,
)
from brainsynth_jax.data.scan import Source
from brainsynth_jax.data.slices import Record, SliceOptions
from brainsynth_jax.data.split import split_last_patients, split_patients
from brainsynth_jax.data.tfds_builder import open_slices
from brainsynth_jax.errors import UserError

# To be raised with every change of code that changes a prepared slice.
PREPARATION_VERSION = 2

DOMAINS = ("train_a", "train_b", "test_a", "test_b")


class Records(Sequence[Record]):
    """Some of the prepared slices, read when asked for.

    Attributes:
      subjects: (len,) str, whose slice each record is; known without reading it.
    """

    def __init__(
        self,
        folder: Path,
        stored: Sequence[Record],
        table: Sequence[SubjectSlices],
        keep: Callable[[SubjectSlices], bool],
    ):
        counts = [row.count for row in table]
        kept = np.repeat([keep(row) for row in table], counts)
        self._folder = folder
        self._stored = stored
        self._indices = np.flatnonzero(kept)
        self.subjects = np.repeat([row.name for row in table], counts)[kept]

    def take(self, indices: np.ndarray) -> "Records":
        """Only these of the records, (k,) int, in this order."""
        taken = copy.copy(self)
        taken._indices, taken.subjects = self._indices[indices], self.subjects[indices]
        return taken

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        try:
            record = self._stored[int(self._indices[index])]
        except RuntimeError as error:  # array_record's checksums
            raise damaged(self._folder, str(error)) from error
        return {**record, "subject": record["subject"].decode()}


class SliceDataset(NamedTuple):
    """Slices for training and testing; of one patient, all are on the same side.

    Attributes:
      train_a, train_b, test_a, test_b: records; `train_b` is `train_a` where paired.
      paired: True where `tissue` is the true mask of `image`. False for `trainA/ trainB/`
        folders: there a B record's `image` is the picture of a mask, and `tissue` is all 0.
      train_subjects, test_subjects: names in order.
      skipped: a sentence on each subject left out: those that can't be used, with
        `skip_bad_subjects`, and those without a slice that shows enough tumour.
      has_classes: False where masks only tell tumour from no tumour.
      fingerprint: short hex digest of the prepared slices' pictures, names and numbers, and of
        how they are divided.
      test_empty: slices without tumour of the test subjects, see `prepare_empty_slices`; None
        where there are none or nobody asked for them. They are not in the fingerprint.
    """

    train_a: Records
    train_b: Records
    test_a: Records
    test_b: Records
    paired: bool
    train_subjects: tuple[str, ...]
    test_subjects: tuple[str, ...]
    skipped: tuple[str, ...]
    has_classes: bool
    fingerprint: str
    test_empty: Records | None = None


def prepare_slices(
    source: Source, options: SliceOptions, cache_dir: Path, show_progress: bool = True
) -> SliceDataset:
    """Prepares a source's slices, or opens those prepared before, and divides them.

    An interrupted preparation leaves nothing that could be taken for a finished one.

    Args:
      source: of `sources.recognise`.
      options: how scans become slices.
      cache_dir: where prepared slices are kept; made if need be.
      show_progress: whether a person is told how far it is.

    Raises:
      UserError: subjects that can't be used (without `options.skip_bad_subjects`), too few
        patients or slices, a slice range that is none, a cache that can't be written or is damaged.
    """
    if options.slices and not 0 <= options.slices[0] <= options.slices[1]:
        first, last = options.slices
        raise UserError(
            f"--slices={first}:{last}: needs a first and a last slice number, 60:107 say."
        )
    folder, contents, table = _open(source, options, cache_dir, show_progress)
    stored = _stored(folder)
    if source.domains:
        parts = {
            domain: Records(folder, stored, table, lambda row, domain=domain: row.domain == domain)
            for domain in source.domains
        }
        if empty := [domain for domain, records in parts.items() if not records]:
            raise UserError(f"--data_dir={source.root}: no usable picture for {', '.join(empty)}.")
    else:
        train, test = _divide([row.patient for row in table], options)
        train_records = Records(folder, stored, table, lambda row: row.patient in train)
        test_records = Records(folder, stored, table, lambda row: row.patient in test)
        parts = dict(zip(DOMAINS, 2 * [train_records] + 2 * [test_records], strict=True))
    return SliceDataset(
        **parts,
        paired=source.domains is None,
        train_subjects=_names(parts["train_a"], parts["train_b"]),
        test_subjects=_names(parts["test_a"], parts["test_b"]),
        skipped=tuple(contents["skipped"]),
        has_classes=source.has_classes,
        fingerprint=_digest([contents["digest"], source.domains is None, *_division(options)]),
    )


def prepare_empty_slices(
    source: Source,
    subjects: Sequence[str],
    options: SliceOptions,
    count: int,
    cache_dir: Path,
    show_progress: bool = True,
) -> Records | None:
    """Slices without tumour, prepared and cached like the others.

    Args:
      source: as `prepare_slices`, with true masks.
      subjects: names of those to take them from, all usable.
      options: of the slices that they are to stand beside; the least tumour plays no part.
      count: so many of each subject, at most, see `SliceOptions.empty_slices`.
      cache_dir: as `prepare_slices`.
      show_progress: as `prepare_slices`.

    Returns:
      Records by subject and slice, None where no subject has such a slice.

    Raises:
      UserError: as `prepare_slices`.
    """
    wanted = tuple(subject for subject in source.subjects if subject.name in set(subjects))
    source = source._replace(subjects=wanted, problems=())
    options = options._replace(empty_slices=count, min_tumor_area_pixels=0)
    try:
        folder, _, table = _open(source, options, cache_dir, show_progress)
    except NoSlices:
        return None
    return Records(folder, _stored(folder), table, lambda row: True)


def _open(
    source: Source, options: SliceOptions, cache_dir: Path, show_progress: bool
) -> tuple[Path, dict, list[SubjectSlices]]:
    """The folder in the cache, filled if need be, and what it holds."""
    folder = Path(cache_dir) / "slices" / _cache_key(source, options)
    prepare_folder(source, options, folder, show_progress)
    contents = json.loads((folder / CONTENTS).read_text())
    return folder, contents, [SubjectSlices(*row) for row in contents["table"]]


def _stored(folder: Path) -> Sequence[Record]:
    try:
        return open_slices(folder / RECORDS)
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, str(error)) from error


def _divide(
    patients: Sequence[str], options: SliceOptions
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if options.test_patients is None:
        return split_patients(patients, options.test_fraction, options.seed)
    return split_last_patients(patients, options.test_patients)


def _division(options: SliceOptions) -> tuple[float, ...]:
    """What decides who is for testing."""
    if options.test_patients is None:
        return options.test_fraction, options.seed
    return (options.test_patients,)


def _cache_key(source: Source, options: SliceOptions) -> str:
    groups = source.domains or {PAIRED: source.subjects}
    files = [
        (
            domain,
            subject.name,
            subject.patient,
            path.relative_to(source.root).as_posix(),
            _stamp(path),
        )
        for domain, group in groups.items()
        for subject in group
        for path in subject.files
    ]
    of_division = {"test_fraction", "seed", "test_patients"}
    shaping = {k: v for k, v in options._asdict().items() if k not in of_division}
    if not options.empty_slices:  # what was prepared before there were any stays good
        del shaping["empty_slices"]
    constants = intensity.MEDIAN_SPAN_STD, intensity.LOW_PERCENT, intensity.HIGH_PERCENT
    return _digest([PREPARATION_VERSION, constants, source.kind, source.problems, shaping, files])


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _digest(described: Any) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _names(*parts: Records) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(name) for records in parts for name in records.subjects))

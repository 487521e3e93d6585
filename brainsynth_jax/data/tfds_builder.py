"""Prepared slices on disk: array_record files written and read by tensorflow_datasets.

The one place that knows tensorflow_datasets. TensorFlow itself is not needed, neither to write
nor to read.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from brainsynth_jax.data.slices import Record

_SPLIT = "slices"
_OWN_CLASSES = "tensorflow_datasets.core.features."
_INFO, _FEATURES = "dataset_info.json", "features.json"

tfds.disable_progress_bar()


class _LocalInfo(tfds.core.DatasetInfo):
    """Is told by the builder what it describes, and asks nobody else."""

    def initialize_from_bucket(self) -> None:
        """Looks for no published description, for which an empty folder would be left in /tmp."""


class PreparedSlices(tfds.core.GeneratorBasedBuilder):
    """Slices in the order given, with the fields that the module `slices` documents."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, records: Iterable[Record], image_size: int, **kwargs: Any):
        self._records = records
        self._image_size = image_size
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        picture = (self._image_size, self._image_size, 1)
        return _LocalInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": _tensor(picture, np.uint8),
                    "tissue": _tensor(picture, np.uint8),
                    "subject": tfds.features.Text(),
                    "slice_number": np.int32,
                    "spacing_mm": _tensor((3,), np.float32),
                    "intensity_offset": np.float32,
                    "intensity_scale": np.float32,
                    "brain_median": np.float32,
                    "brain_std": np.float32,
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {_SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, Record]]:
        yield from enumerate(self._records)

    def _log_download_bytes(self) -> None:
        """Says nothing: nothing is downloaded."""

    def _log_download_done(self) -> None:
        """Says nothing: nothing was downloaded."""


def write_slices(folder: Path, records: Iterable[Record], image_size: int) -> None:
    """Writes the records, in order, to a new `folder`, whose parent has to exist.

    What `records` raises, this raises; then `folder` is not there.

    Raises:
      OSError: the disk is full or may not be written.
    """
    workshop = folder.with_name(folder.name + ".writing")
    builder = PreparedSlices(
        records=records, image_size=image_size, data_dir=workshop, file_format="array_record"
    )
    try:
        builder.download_and_prepare()
    except RuntimeError as error:  # what array_record makes of a full disk
        raise OSError(str(error)) from error
    Path(builder.data_dir).replace(folder)
    shutil.rmtree(workshop)


def join_slices(parts: Sequence[Path], folder: Path) -> None:
    """Makes a new `folder` of the records of several of `write_slices`, in order, which stay.

    Raises:
      OSError: the disk is full or may not be written.
    """
    folder.mkdir()
    infos = [json.loads((part / _INFO).read_text()) for part in parts]
    files = [file for part in parts for file in sorted(part.glob("*.array_record-*"))]
    for number, file in enumerate(files):
        name = file.name.rpartition(".array_record-")[0]
        shard = folder / f"{name}.array_record-{number:05d}-of-{len(files):05d}"
        try:
            shard.hardlink_to(file)
        except OSError:  # a disk without such links
            shutil.copyfile(file, shard)
    splits = [info["splits"][0] for info in infos]
    joined = splits[0] | {
        "numBytes": str(sum(int(split["numBytes"]) for split in splits)),
        "shardLengths": [length for split in splits for length in split["shardLengths"]],
    }
    (folder / _INFO).write_text(json.dumps(infos[0] | {"splits": [joined]}, indent=1))
    shutil.copyfile(parts[0] / _FEATURES, folder / _FEATURES)


def open_slices(folder: Path) -> Sequence[Record]:
    """The records in a folder of `write_slices`, by index; each is read when asked for.

    Raises:
      ValueError: it names a class that is not tensorflow_datasets' own, which would be imported.
    """

    def check(described: dict[str, Any]) -> None:
        name = described.get("pythonClassName", _OWN_CLASSES)
        if not str(name).startswith(_OWN_CLASSES):
            raise ValueError(f"{_FEATURES} names {name}")

    json.loads((folder / _FEATURES).read_text(), object_hook=check)
    return tfds.builder_from_directory(folder).as_data_source(_SPLIT)


def _tensor(shape: tuple[int, ...], dtype: type) -> tfds.features.Tensor:
    # array_record compresses by itself: with zlib on top the files stay as large, and writing
    # and reading take three times as long.
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")

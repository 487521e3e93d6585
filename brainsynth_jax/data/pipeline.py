"""Prepared slices as arrays: endless training batches by grain, and all at once for evaluation."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import grain
import numpy as np

from brainsynth_jax.data.masks import render_mask
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.data.slices import Record

Batch = dict[str, np.ndarray]

# Reading and drawing a slice takes about a millisecond: two threads keep any CycleGAN supplied.
READING_THREADS = 2
BATCHES_AHEAD = 4
# A DCGAN on a GPU may take twenty thousand slices a second, so what was read once is kept: up to
# 16,000 slices of 256 x 256 pixels; the paper's 720 take 45 MiB.
KEPT_BYTES = 2**30

_ENDLESS = 2**40  # steps


class Part(NamedTuple):
    """One of several equal parts of each batch, in the order of its images.

    Attributes:
      index: 0 to count - 1.
      count: how many there are; the batch size is a multiple of it.
    """

    index: int
    count: int

    def places(self, batch_size: int) -> range:
        """Where its images are in the batch."""
        size = batch_size // self.count
        return range(self.index * size, (self.index + 1) * size)


WHOLE = Part(0, 1)


class SliceBatch(NamedTuple):
    """Slices with their true masks; N of them, S the side in pixels.

    Attributes:
      image: (N, S, S, 1) float32 in [-1, 1].
      mask: (N, S, S, 1) float32 in [-1, 1], the picture of domain B.
      tissue: (N, S, S) uint8, codes of `masks`.
      subjects: N names.
      slice_numbers: (N,) int32.
      spacing_mm: (N, 3) float32, between slices, rows, columns; NaN where unknown.
      brain_z: (N, S, S) float32, brain-standardised intensity: (scanner units - the median of
        the scan's brain) / its standard deviation; NaN for pictures without brain statistics.
    """

    image: np.ndarray
    mask: np.ndarray
    tissue: np.ndarray
    subjects: list[str]
    slice_numbers: np.ndarray
    spacing_mm: np.ndarray
    brain_z: np.ndarray


def make_batches(
    dataset: SliceDataset,
    mask_style: str,
    mask_classes: str,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    part: Part = WHOLE,
) -> grain.DatasetIterator[Batch]:
    """Endless unaligned training batches, read ahead in threads.

    The batch of step k is a pure function of dataset, seed and k. A and B are shuffled
    independently, anew at each pass through them; where a slice and its own mask meet in a
    batch, that is by chance.

    Args:
      dataset: of `prepared.prepare_slices`.
      mask_style: one of `masks.MASK_STYLES`.
      mask_classes: one of `masks.MASK_CLASSES`.
      batch_size: N, over all devices.
      seed: decides the orders.
      start_step: step of the first batch.
      part: of each batch, the only slices that are read; for the processes of one run.

    Yields:
      `image_a` and `image_b`, (N / part.count, S, S, 1) float32 in [-1, 1], and `index`,
      (N / part.count,) int32 from 0 to N-1, the places in the batch.
    """

    def mask_of(record: Record) -> np.ndarray:
        return _draw_mask(record, dataset.paired, mask_style, mask_classes)

    order_a_seed, order_b_seed = (int(n) for n in np.random.SeedSequence(seed).generate_state(2))
    order_a = _endless_order(len(dataset.train_a), order_a_seed)
    order_b = _endless_order(len(dataset.train_b), order_b_seed)

    def batch_of(step: int) -> Batch:
        index = part.places(batch_size)
        places = [step * batch_size + place for place in index]
        return {
            "image_a": _to_float([dataset.train_a[order_a(place)]["image"] for place in places]),
            "image_b": np.stack([mask_of(dataset.train_b[order_b(place)]) for place in places]),
            "index": np.array(index, np.int32),
        }

    return _read_ahead(batch_of, start_step)


def make_image_batches(
    records: Records, batch_size: int, seed: int, start_step: int = 0, part: Part = WHOLE
) -> grain.DatasetIterator[Batch]:
    """Endless training batches of slices without their masks, as `make_batches`.

    Args:
      records: one part of a dataset.
      batch_size: N, over all devices.
      seed: decides the order.
      start_step: step of the first batch.
      part: of each batch, as `make_batches`.

    Yields:
      `image`, (N / part.count, S, S, 1) float32 in [-1, 1], and `index`, (N / part.count,) int32.
    """
    order, read = _endless_order(len(records), seed), _keep_read(records)

    def batch_of(step: int) -> Batch:
        index = part.places(batch_size)
        return {
            "image": _to_float([read(order(step * batch_size + place)) for place in index]),
            "index": np.array(index, np.int32),
        }

    return _read_ahead(batch_of, start_step)


def _keep_read(records: Records) -> Callable[[int], np.ndarray]:
    """Reads a record's 8-bit picture; those that fit into `KEPT_BYTES` only once."""
    kept = {}

    def read(index: int) -> np.ndarray:
        picture = kept.get(index)
        if picture is None:
            picture = records[index]["image"]
            if (len(kept) + 1) * picture.nbytes <= KEPT_BYTES:
                kept[index] = picture
        return picture

    return read


def _read_ahead(batch_of: Callable[[int], Batch], start_step: int) -> grain.DatasetIterator[Batch]:
    steps = grain.MapDataset.range(start_step, _ENDLESS)
    ahead = grain.ReadOptions(num_threads=READING_THREADS, prefetch_buffer_size=BATCHES_AHEAD)
    return iter(steps.map(batch_of).to_iter_dataset(ahead))


def limit_pairs(
    dataset: SliceDataset, train_pairs: int, test_pairs: int, seed: int
) -> SliceDataset:
    """The same dataset with at most so many records in each domain of train and of test.

    They are spread evenly over the subjects and chosen by `seed`; 0 keeps all. Where the truth is
    known, A and B keep the same ones.
    """

    def limited(records: Records, limit: int) -> Records:
        return records.take(_spread(records.subjects, limit, seed))

    return dataset._replace(
        train_a=limited(dataset.train_a, train_pairs),
        train_b=limited(dataset.train_b, train_pairs),
        test_a=limited(dataset.test_a, test_pairs),
        test_b=limited(dataset.test_b, test_pairs),
    )


def limit_subjects(dataset: SliceDataset, count: int, seed: int) -> SliceDataset:
    """The same dataset with at most so many training subjects in each domain, chosen by `seed`.

    A smaller number's subjects are among a larger one's; 0 keeps all.
    """

    def limited(records: Records) -> Records:
        names = np.unique(records.subjects)
        chosen = np.random.default_rng(seed).permutation(names)[: count or None]
        return records.take(np.flatnonzero(np.isin(records.subjects, chosen)))

    train_a = limited(dataset.train_a)
    train_b = train_a if dataset.paired else limited(dataset.train_b)
    kept = {*train_a.subjects, *train_b.subjects}
    return dataset._replace(
        train_a=train_a,
        train_b=train_b,
        train_subjects=tuple(name for name in dataset.train_subjects if name in kept),
    )


def load_slices(
    records: Records,
    paired: bool,
    mask_style: str,
    mask_classes: str,
    limit: int = 0,
    seed: int = 0,
) -> SliceBatch:
    """Loads slices at once, in the order of subjects and slices.

    Args:
      records: one of a dataset's four parts.
      paired: the dataset's; where False, `mask` is the record's picture, as in a batch.
      mask_style: one of `masks.MASK_STYLES`.
      mask_classes: one of `masks.MASK_CLASSES`.
      limit: take so many, spread evenly over subjects and chosen by `seed`; 0 for all.
      seed: any integer.
    """
    chosen = [records[index] for index in _spread(records.subjects, limit, seed)]
    image = _to_float([record["image"] for record in chosen])
    tissue = np.stack([record["tissue"] for record in chosen])

    def column(name: str) -> np.ndarray:
        return np.array([record[name] for record in chosen], np.float32)[:, None, None]

    scanner_units = column("intensity_offset") + column("intensity_scale") * image[..., 0]
    return SliceBatch(
        image=image,
        mask=np.stack([_draw_mask(record, paired, mask_style, mask_classes) for record in chosen]),
        tissue=tissue[..., 0],
        subjects=[record["subject"] for record in chosen],
        slice_numbers=np.array([record["slice_number"] for record in chosen], np.int32),
        spacing_mm=np.stack([record["spacing_mm"] for record in chosen]),
        brain_z=(scanner_units - column("brain_median")) / column("brain_std"),
    )


def load_images(records: Records, limit: int = 0, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Only the images of `load_slices`, (N, S, S, 1) float32 in [-1, 1], and N subjects."""
    chosen = [records[index] for index in _spread(records.subjects, limit, seed)]
    images = _to_float([record["image"] for record in chosen])
    return images, [record["subject"] for record in chosen]


def _to_float(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """N pictures of 8 bits, (S, S, 1) each -> (N, S, S, 1) float32 in [-1, 1]."""
    stacked = np.empty((len(pictures), *pictures[0].shape), np.float32)
    for row, picture in zip(stacked, pictures, strict=True):  # in the processor's cache
        np.copyto(row, picture)
        row /= np.float32(127.5)
        row -= 1
    return stacked


def _draw_mask(record: Record, paired: bool, style: str, classes: str) -> np.ndarray:
    """A record as a picture of domain B; where there is no tissue map it is that picture."""
    if paired:
        return render_mask(record["tissue"], style, classes)
    return _to_float([record["image"]])[0]


def _endless_order(count: int, seed: int) -> Callable[[int], int]:
    """The index at each place of an endless sequence of passes, each in an order of its own.

    grain's own shuffle takes 9 ms an index where there are only a few of them.
    """

    @lru_cache(maxsize=2)
    def one_pass(number: int) -> np.ndarray:
        return np.random.default_rng([seed, number]).permutation(count)

    def index_at(place: int) -> int:
        number, place_in_pass = divmod(place, count)
        return int(one_pass(number)[place_in_pass])

    return index_at


def _spread(subjects: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Indices of `limit` slices: one of every subject, then a second of every subject, ..."""
    everyone = np.arange(len(subjects))
    if not 0 < limit < len(subjects):
        return everyone
    mixed = np.random.default_rng(seed).permutation(everyone)
    seen, turns = {}, np.empty(len(subjects), int)
    for index in mixed:
        turns[index] = seen[subjects[index]] = seen.get(subjects[index], -1) + 1
    return np.sort(mixed[np.argsort(turns[mixed], kind="stable")][:limit])

"""What utility.py trains on and tests on: pairs of annotated subjects, and held-out slices.

`options` holds one attribute for each flag of `utility.py`.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from cyclegan_setup import prepare_dataset
from run_options import Run
from utility_pairs import draw_pairs, train_generator

from brainsynth_jax.data.masks import is_brain, is_tumor
from brainsynth_jax.data.pipeline import SliceBatch, load_slices
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.threshold import apply_threshold, tune_threshold
from brainsynth_jax.evaluation.utility import score_dice
from brainsynth_jax.training.pairs import Pairs, shrink_pairs

# Slices in memory, at most, spread over the subjects: a hundred of 256 x 256 take 85 MB.
MOST_TRAINING_SLICES, _MOST_TEST_SLICES = 3000, 1500


class Annotated(NamedTuple):
    """What is there for one number of annotated subjects.

    Attributes:
        real: their pairs.
        synthetic: those made from them, or ready ones.
        threshold: Dice of each held-out subject by the best smoothed threshold on `real`.
        generator_step: of the CycleGAN that drew the synthetic ones; None of ready ones.
    """

    real: Pairs
    synthetic: Pairs
    threshold: dict[str, float]
    generator_step: int | None


class HeldOut(NamedTuple):
    """The slices that all networks are tested on, as they are prepared and shrunk."""

    slices: SliceBatch
    pairs: Pairs


def open_data(options: SimpleNamespace, run: Run | None, cache_dir: Path) -> SliceDataset:
    """Prepared slices with true masks: of the CycleGAN's run, or as the flags say."""
    whole = {"slices": None, "mask_classes": "whole", "train_subjects": 0}
    unlimited = {"train_pairs": 0, "test_pairs": 0}
    asked = vars(run.options) if run else vars(options) | whole
    dataset = prepare_dataset(SimpleNamespace(**asked | unlimited), cache_dir)
    if run:
        run.check_data(dataset.fingerprint)
    if not dataset.paired:
        raise UserError(
            f"--data_dir={options.data_dir}: these images have no true masks of their own, which "
            "training and testing a segmentation network needs. Give a folder with scans and masks."
        )
    return dataset


def load_held_out(options: SimpleNamespace, dataset: SliceDataset) -> HeldOut:
    """Slices of the test subjects: with tumour, and of each some without, if there are any.

    What a network draws into slices without tumour lowers its subject's Dice.
    """
    slices = _load_some(options, dataset.test_a, _MOST_TEST_SLICES)
    if dataset.test_empty is not None:
        empty = _load_some(options, dataset.test_empty, _MOST_TEST_SLICES)
        slices = SliceBatch(*map(np.concatenate, zip(slices, empty, strict=True)))
    return HeldOut(slices, _shrink(slices, options.segmenter_size))


def _load_some(options: SimpleNamespace, records: Records, most: int) -> SliceBatch:
    """At most so many slices, spread over the subjects."""
    return load_slices(records, True, "tumor", "whole", most, options.seed)


def _shrink(slices: SliceBatch, size: int) -> Pairs:
    """Slices and their true masks, at the segmentation network's size."""
    return shrink_pairs(Pairs(slices.image, is_tumor(slices.tissue)), size)


def annotate(
    options: SimpleNamespace,
    run: Run | None,
    ready: Pairs | None,
    dataset: SliceDataset,
    held_out: HeldOut,
    workdir: Path,
    cache_dir: Path,
) -> Annotated:
    """Real and synthetic pairs, and the threshold, of the subjects that `dataset` trains on."""
    slices = _load_some(options, dataset.train_a, MOST_TRAINING_SLICES)
    real, step = _shrink(slices, options.segmenter_size), None
    if ready is None:
        run = run or train_generator(options, dataset, workdir, cache_dir)
        ready, step = draw_pairs(run, slices.tissue, options)
    return Annotated(real, ready, _score_threshold(slices, held_out, options), step)


def _score_threshold(
    slices: SliceBatch, held_out: HeldOut, options: SimpleNamespace
) -> dict[str, float]:
    """Dice of each held-out subject by the best smoothed threshold on `slices`.

    Its masks are shrunk as the slices are, and compared with the same truth as the networks'.
    """
    brain, tumor = is_brain(slices.tissue), is_tumor(slices.tissue)
    baseline = tune_threshold(slices.brain_z, brain, tumor, slices.subjects)
    test, pairs = held_out
    drawn = apply_threshold(baseline, test.brain_z, is_brain(test.tissue))
    drawn = shrink_pairs(Pairs(test.image, drawn), options.segmenter_size).masks
    return score_dice(drawn, pairs.masks, test.subjects, test.slice_numbers)

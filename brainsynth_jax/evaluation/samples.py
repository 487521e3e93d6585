"""Synthetic slices beside real ones, whatever made them: what goes into evaluation.json."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from brainsynth_jax.evaluation.copies import judge_images, summarize_copies
from brainsynth_jax.evaluation.distances import (
    RealSet,
    compare_to_real,
    count_subjects,
    extrapolated_frechet_distance,
    frechet_distance,
    kernel_distance,
)
from brainsynth_jax.evaluation.diversity import compare_diversity, subject_spread
from brainsynth_jax.evaluation.features import FeatureSpace
from brainsynth_jax.evaluation.grid import grid_energy
from brainsynth_jax.evaluation.manifold import compare_overlap
from brainsynth_jax.evaluation.neighbours import (
    Neighbours,
    Slices,
    coarsen,
    find_neighbours,
)
from brainsynth_jax.evaluation.similarity import pairwise_ms_ssim

_PAIRS = 400
# Each takes eighteen Frechet distances.
_EXTRAPOLATED_DIVISIONS = 5


class RealSlices(NamedTuple):
    """Real slices, and whose they are.

    Attributes:
        images: (N, S, S, 1) float32 in [-1, 1].
        subjects: N names; all `distances.UNKNOWN` where nothing tells.
    """

    images: np.ndarray
    subjects: Sequence[str]


class Samples(NamedTuple):
    """Synthetic slices, and what takes long to find out about them.

    Attributes:
        images: (N, S, S, 1) in [-1, 1].
        subjects: N names, whose masks they were made from; None for independent samples.
        features: (N, D), in the reference's space.
        nearest: their nearest training slices.
    """

    images: np.ndarray
    subjects: Sequence[str] | None
    features: np.ndarray
    nearest: Neighbours


class Reference(NamedTuple):
    """What samples are compared with, measured once a run.

    Attributes:
        train: slices that are trained on, or as many of them as are worth comparing with.
        training: all slices that are trained on, which may be copied.
        test: slices of subjects that are not; None where none are held out.
        space: feature space, made from the training slices.
        train_set: features of `train`.
        test_set: features of `test`, or None.
        ms_ssim: of pairs of training slices, as `pairwise_ms_ssim` gives it.
        grid_energy: of the training slices; None at a size that has none.
        test_nearest: of all training slices those nearest to held-out ones, or None.
        test_kid: kernel distance of held-out to training slices; None with fewer than two of them.
    """

    train: RealSlices
    training: Slices
    test: RealSlices | None
    space: FeatureSpace
    train_set: RealSet
    test_set: RealSet | None
    ms_ssim: dict
    grid_energy: float | None
    test_nearest: Neighbours | None
    test_kid: float | None


def measure_reference(
    train: RealSlices,
    test: RealSlices | None,
    space: FeatureSpace,
    seed: int,
    training: Slices | None = None,
) -> Reference:
    """Measures the real slices that samples will be compared with.

    Args:
        train: slices that are trained on.
        test: slices of subjects that are not; None where none are held out.
        space: feature space, made from the training slices.
        seed: of pairs.
        training: all slices that are trained on; None where `train` has all.
    """

    def features(slices: RealSlices) -> RealSet:
        return RealSet(space.extract(slices.images), slices.subjects)

    train_set, test_set = features(train), features(test) if test else None
    if training is None:
        training = Slices(coarsen(train.images), train_set.features, train.subjects)
    test_nearest = None
    if test:
        test_nearest = find_neighbours(coarsen(test.images), test_set.features, training)
    return Reference(
        train=train,
        training=training,
        test=test,
        space=space,
        train_set=train_set,
        test_set=test_set,
        ms_ssim=pairwise_ms_ssim(train.images, _PAIRS, seed, train.subjects),
        grid_energy=grid_energy(train.images),
        test_nearest=test_nearest,
        test_kid=_kernel_distance(train_set.features, test_set.features) if test else None,
    )


def measure_samples(
    images: np.ndarray, real: Reference, subjects: Sequence[str] | None = None
) -> Samples:
    """Finds the samples' places among the training slices, once for all that is said of them.

    Args:
        images: (N, S, S, 1) in [-1, 1], of the real slices' size.
        real: from `measure_reference`.
        subjects: N names, whose masks the samples were made from, or None for samples that are
            independent: pairs of samples are then of two subjects, as those of real slices are,
            and intervals draw whole subjects.

    Raises:
        ValueError: no samples, of another size than the real slices, or not in [-1, 1].
    """
    _check_images(images, real.train.images)
    features = real.space.extract(images)
    nearest = find_neighbours(coarsen(images), features, real.training)
    return Samples(images, subjects, features, nearest)


def evaluate_samples(samples: Samples, real: Reference, seed: int) -> dict:
    """What evaluation.json holds of synthetic slices, whatever made them.

    Args:
        samples: from `measure_samples`.
        real: from `measure_reference`.
        seed: of pairs, bootstraps, cuts and divisions.

    Returns:
        JSON-safe: `samples`, `train` and `test`, the numbers of slices and subjects (None where
        these are unknown; they then count as one in all else);
        `compared_with` ("test", or "train" where none are held out); `feature_space`; `frechet`,
        `frechet_extrapolated` and `kid` (`distances.compare_to_real`); `overlap`
        (`manifold.compare_overlap`); `ms_ssim` of `samples` and of `real` (training) pairs;
        `diversity` beside training slices (`diversity.compare_diversity`); `subject_spread`
        (`diversity.subject_spread`); `grid_energy` of both and their `ratio` (None at a size that
        has none); `copies` (`copies.summarize_copies`; None without held-out slices).
    """
    features, subjects = samples.features, samples.subjects
    held_out = real.test_set or real.train_set
    everyone = real.train_set
    if real.test:
        everyone = RealSet(
            np.concatenate([real.train_set.features, real.test_set.features]),
            [*real.train.subjects, *real.test.subjects],
        )
    grid = grid_energy(samples.images)
    return {
        "samples": len(samples.images),
        "train": _count(real.train),
        "test": _count(real.test) if real.test else None,
        "compared_with": "test" if real.test else "train",
        "feature_space": {
            "name": real.space.name,
            "recipe": real.space.recipe,
            "dimensions": real.space.dimensions,
            "fingerprint": real.space.fingerprint,
        },
        "frechet": compare_to_real(
            frechet_distance, features, held_out, everyone, seed, sample_subjects=subjects
        ),
        "frechet_extrapolated": compare_to_real(
            partial(extrapolated_frechet_distance, seed=seed),
            features,
            held_out,
            everyone,
            seed,
            resamples=0,
            divisions=_EXTRAPOLATED_DIVISIONS,
        ),
        "kid": compare_to_real(
            kernel_distance, features, held_out, everyone, seed, sample_subjects=subjects
        ),
        "overlap": compare_overlap(features, held_out, everyone, seed),
        "ms_ssim": {
            "samples": pairwise_ms_ssim(samples.images, _PAIRS, seed, subjects),
            "real": real.ms_ssim,
        },
        "diversity": compare_diversity(features, real.train_set, seed),
        "subject_spread": subject_spread(features, real.train_set, real.test_set, seed),
        "grid_energy": None
        if grid is None
        else {"samples": grid, "real": real.grid_energy, "ratio": grid / real.grid_energy},
        "copies": summarize_copies(
            samples.nearest, real.test_nearest, real.test.subjects, real.training
        )
        if real.test
        else None,
    }


def rank_by_likeness(samples: Samples, real: Reference, neighbours: int = 5) -> np.ndarray:
    """(N,) indices of samples, those most like real slices first.

    By the mean distance to the nearest `neighbours` training slices in the feature space.
    """
    features, train = samples.features, real.train_set.features
    squares = np.square(features).sum(1)[:, None] + np.square(train).sum(1) - 2 * features @ train.T
    nearest = np.sort(np.sqrt(np.maximum(squares, 0)), axis=1)[:, :neighbours]
    return np.argsort(nearest.mean(axis=1), kind="stable")


def list_copies(samples: Samples, real: Reference) -> list[dict]:
    """One row a sample, by `copies.judge_images`: is it a copy, and of whom?"""
    heldout_subjects = real.test.subjects if real.test else ()
    return judge_images(
        samples.nearest, real.training.subjects, real.test_nearest, heldout_subjects
    )


def _check_images(images: np.ndarray, real: np.ndarray) -> None:
    shaped = images.ndim == 4 and len(images) and images.shape[1:] == real.shape[1:]
    if not shaped or not np.abs(images).max() <= 1:  # NaN is no number at most 1
        span = f"from {images.min():.3g} to {images.max():.3g}" if images.size else "none"
        raise ValueError(
            f"Samples in [-1, 1] of the real slices' size {real.shape[1:]} are needed, got "
            f"{images.shape}, {span}."
        )


def _kernel_distance(features: np.ndarray, other: np.ndarray) -> float | None:
    """None where a set is a single slice, which has no distance without bias."""
    return kernel_distance(features, other) if min(len(features), len(other)) > 1 else None


def _count(slices: RealSlices) -> dict[str, int | None]:
    return {"slices": len(slices.images), "subjects": count_subjects(slices.subjects)}

"""A DCGAN's slices beside real ones: what is watched, and what goes into evaluation.json."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from brainsynth_jax.evaluation.chunks import in_chunks
from brainsynth_jax.evaluation.copies import (
    Neighbours,
    Slices,
    coarsen,
    find_neighbours,
    judge_images,
    nearest_distances,
    summarize_copies,
)
from brainsynth_jax.evaluation.distances import (
    RealSet,
    compare_to_real,
    frechet_distance,
    kernel_distance,
)
from brainsynth_jax.evaluation.features import FeatureSpace
from brainsynth_jax.evaluation.grid import grid_energy
from brainsynth_jax.evaluation.similarity import pairwise_ms_ssim
from brainsynth_jax.training.dcgan import Dcgan, DcganState

_PAIRS = 400
_WATCHED_PAIRS = 100
_SCORED_A_CALL = 32

Judge = Callable[[DcganState, np.ndarray], np.ndarray]


class RealSlices(NamedTuple):
    """Real slices, and whose they are.

    Attributes:
        images: (N, S, S, 1) float32 in [-1, 1].
        subjects: N names.
    """

    images: np.ndarray
    subjects: Sequence[str]


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
        grid_energy: of the training slices.
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
    grid_energy: float
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


def make_judge(model: Dcgan) -> Judge:
    """Returns a compiled `judge(state, images) -> scores`.

    The discriminator as it would be used, without noise and with its stored statistics.
    (N, S, S, 1) -> (N,).
    """

    @jax.jit
    def apply(params, statistics, images):
        images = images.repeat(model.generator.channels, axis=-1)
        return model.discriminator.apply({"params": params, "batch_stats": statistics}, images)

    def judge(state: DcganState, images: np.ndarray) -> np.ndarray:
        return in_chunks(
            lambda part: apply(state.discriminator, state.discriminator_statistics, part),
            _SCORED_A_CALL,
            images,
        )

    return judge


def critic_gaps(state: DcganState, judge: Judge, samples: np.ndarray, real: Reference) -> dict:
    """How far the discriminator scores real slices above samples, on average.

    `train`, `test` (None without held-out slices), in its own unbounded units. A discriminator that
    has learnt what real slices are like has both alike; a `test` far below `train` shows that it
    has learnt the training slices by heart.
    """
    made = float(judge(state, samples).mean())

    def gap(slices: RealSlices | None) -> float | None:
        return float(judge(state, slices.images).mean()) - made if slices else None

    return {"train": gap(real.train), "test": gap(real.test)}


def watch_samples(samples: np.ndarray, gaps: dict, real: Reference, seed: int) -> dict[str, float]:
    """The named numbers of an epoch's end, for the log and for `find_collapse`.

    `kid`: kernel distance to training slices, which chooses the best checkpoint, `kid_test` to
    held-out ones, and `kid_real` between the two; `ms_ssim_samples`, `ms_ssim_real`; `grid_ratio`:
    grid energy, samples by real; `nearest_ratio`: median distance to the nearest training slice,
    samples by held-out slices; `critic_gap_train`, `critic_gap_test`. Those that need held-out
    slices, or for `ms_ssim_real` a second training subject, are left out where there are none.
    """
    features = real.space.extract(samples)
    nearest = np.median(nearest_distances(coarsen(samples), real.training.coarse).distances)
    values = {
        "kid": kernel_distance(features, real.train_set.features),
        "ms_ssim_samples": pairwise_ms_ssim(samples, _WATCHED_PAIRS, seed)["mean"],
        "grid_ratio": grid_energy(samples) / real.grid_energy,
        "critic_gap_train": gaps["train"],
    }
    if real.ms_ssim["mean"] is not None:
        values["ms_ssim_real"] = real.ms_ssim["mean"]
    if real.test:
        test_nearest = np.median(real.test_nearest.image.distances)
        values |= {
            "kid_test": _kernel_distance(features, real.test_set.features),
            "kid_real": real.test_kid,
            "nearest_ratio": float(nearest / test_nearest) if test_nearest else None,
            "critic_gap_test": gaps["test"],
        }
    return {name: value for name, value in values.items() if value is not None}


def evaluate_samples(samples: np.ndarray, gaps: dict, real: Reference, seed: int) -> dict:
    """The measured part of evaluation.json.

    Args:
        samples: (N, S, S, 1) in [-1, 1].
        gaps: from `critic_gaps`.
        real: from `measure_reference`.
        seed: of pairs, bootstraps and divisions.

    Returns:
        JSON-safe: `samples`, `train` and `test`, the numbers of slices and subjects;
        `compared_with` ("test", or "train" where none are held out); `feature_space`; `frechet` and
        `kid` (`distances.compare_to_real`); `ms_ssim` of `samples` and of `real` (training) pairs;
        `grid_energy` of both and their `ratio`; `copies` (`copies.summarize_copies`; None
        without held-out slices); `critic_gap`.
    """
    features = real.space.extract(samples)
    held_out = real.test_set or real.train_set
    everyone = real.train_set
    if real.test:
        everyone = RealSet(
            np.concatenate([real.train_set.features, real.test_set.features]),
            [*real.train.subjects, *real.test.subjects],
        )
    nearest = find_neighbours(coarsen(samples), features, real.training)
    grid = grid_energy(samples)
    return {
        "samples": len(samples),
        "train": _count(real.train),
        "test": _count(real.test) if real.test else None,
        "compared_with": "test" if real.test else "train",
        "feature_space": {
            "name": real.space.name,
            "recipe": real.space.recipe,
            "dimensions": real.space.dimensions,
            "fingerprint": real.space.fingerprint,
        },
        "frechet": compare_to_real(frechet_distance, features, held_out, everyone, seed),
        "kid": compare_to_real(kernel_distance, features, held_out, everyone, seed),
        "ms_ssim": {
            "samples": pairwise_ms_ssim(samples, _PAIRS, seed),
            "real": real.ms_ssim,
        },
        "grid_energy": {
            "samples": grid,
            "real": real.grid_energy,
            "ratio": grid / real.grid_energy,
        },
        "copies": summarize_copies(nearest, real.test_nearest, real.test.subjects, real.training)
        if real.test
        else None,
        "critic_gap": gaps,
    }


def rank_by_likeness(samples: np.ndarray, real: Reference, neighbours: int = 5) -> np.ndarray:
    """(N,) indices of samples, those most like real slices first.

    By the mean distance to the nearest `neighbours` training slices in the feature space.
    """
    features, train = real.space.extract(samples), real.train_set.features
    squares = np.square(features).sum(1)[:, None] + np.square(train).sum(1) - 2 * features @ train.T
    nearest = np.sort(np.sqrt(np.maximum(squares, 0)), axis=1)[:, :neighbours]
    return np.argsort(nearest.mean(axis=1), kind="stable")


def list_copies(samples: np.ndarray, real: Reference) -> list[dict]:
    """One row a sample (N, S, S, 1), by `copies.judge_images`: is it a copy, and of whom?"""
    nearest = find_neighbours(coarsen(samples), real.space.extract(samples), real.training)
    heldout_subjects = real.test.subjects if real.test else ()
    return judge_images(nearest, real.training.subjects, real.test_nearest, heldout_subjects)


def _kernel_distance(features: np.ndarray, other: np.ndarray) -> float | None:
    """None where a set is a single slice, which has no distance without bias."""
    return kernel_distance(features, other) if min(len(features), len(other)) > 1 else None


def _count(slices: RealSlices) -> dict[str, int]:
    return {"slices": len(slices.images), "subjects": len(set(slices.subjects))}

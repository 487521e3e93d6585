"""How far a set of samples is from real images, as two clouds of feature vectors.

Features are (N, D) float arrays, one row an image, both sets from the same feature space. A
distance alone says little: with few images even two sets of real ones are apart. So it stands
beside its floor, the same distance between real images of different subjects.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], float]

# Below these numbers a distance is noise, and is not given.
LEAST_IMAGES = 8
LEAST_SUBJECTS = 2


class RealSet(NamedTuple):
    """Features of real images, and whose they are.

    Attributes:
        features: (N, D).
        subjects: N names.
    """

    features: np.ndarray
    subjects: Sequence[str]


def frechet_distance(features: np.ndarray, other: np.ndarray) -> float:
    """Squared Frechet distance of two Gaussians with the sets' means and covariances.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), Heusel et al., 2017 (arXiv 1706.08500), equation
    6, with unbiased covariances. In squared units of the features, 0 or more. Biased upward, the
    more so the fewer images there are: compare at equal numbers only.

    Raises:
        ValueError: fewer than two rows, different numbers of features, or not finite.
    """
    fewer, more = sorted(_checked(features, other), key=len)
    between = np.square(fewer.mean(axis=0) - more.mean(axis=0)).sum()
    # With C1 = A^T A, tr (C1 C2)^(1/2) is the sum of the roots of the eigenvalues of A C2 A^T,
    # which is symmetric and, from few images, small. No matrix has to be invertible.
    factor, covariance = _covariance_factor(fewer), _covariance(more)
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(factor @ covariance @ factor.T), 0, None))
    within = np.square(factor).sum() + np.trace(covariance)
    return float(max(between + within - 2 * roots.sum(), 0.0))


def kernel_distance(features: np.ndarray, other: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / D + 1)^3 (KID).

    Binkowski et al., 2018 (arXiv 1801.01401), section 4; the estimate is that of Gretton et al.,
    2012, lemma 6, over all images at once. No units. Its expectation does not depend on the number
    of images and is 0 for sets of one distribution, so a single value may be negative.

    Raises:
        ValueError: fewer than two rows, different numbers of features, or not finite.
    """
    features, other = _checked(features, other)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def mean_of_pairs(x: np.ndarray) -> float:
        of_all = kernel(x, x)
        return (of_all.sum() - np.trace(of_all)) / (len(x) * (len(x) - 1))

    return float(
        mean_of_pairs(features) + mean_of_pairs(other) - 2 * kernel(features, other).mean()
    )


def compare_to_real(
    distance: Distance,
    samples: np.ndarray,
    real: RealSet,
    everyone: RealSet,
    seed: int,
    resamples: int = 200,
    divisions: int = 20,
) -> dict:
    """A distance between samples and held-out real images, its interval and its floor.

    The interval says where the value, at these numbers of images, would come to lie with other
    samples and other held-out subjects: 2.5 % and 97.5 % of bootstrap draws of images on the
    sample side and of whole subjects on the real side, moved so that their mean is the value. The
    move is needed: a drawn set repeats images, which makes any two draws look further apart than
    two fresh sets (the Frechet distance counts its bias twice, the kernel distance loses its
    unbiasedness), and plain percentiles would often lie above the value altogether. The interval
    hence holds the spread, not the bias, which the value shares with the floor. It is up to twice
    too wide where samples are as good as real ones, since the drawn sets are then further apart
    than the true ones, and narrower than it should be below some ten subjects.

    The floor is what a perfect generator would get, seen on real images: `everyone` is divided by
    subject, as many subjects on one side as `real` has (at most half), and the distance taken
    between the sides, each cut at random to the number of images of its counterpart where it has
    more. It is the mean over `divisions` random divisions, with their lowest and highest value.

    Args:
        distance: `frechet_distance` or `kernel_distance`.
        samples: (N, D) features.
        real: held-out images.
        everyone: all real images that there are, the held-out ones among them.
        seed: decides the resamples and the divisions.
        resamples: of the bootstrap.
        divisions: that the floor is the mean of.

    Returns:
        `value` (None with fewer than 8 images on a side), `interval_95` ([low, high], None without
        a value or with fewer than two subjects), `images` [samples, real], `subjects`; `floor`,
        `floor_range` [low, high], and `floor_images` [N, M], the mean numbers on the two sides
        (all None where a side falls below 8 images). JSON-safe.
    """
    division_seed, bootstrap_seed = np.random.SeedSequence(seed).spawn(2)
    numbers = [len(samples), len(real.features)]
    enough = min(numbers) >= LEAST_IMAGES
    value = distance(samples, real.features) if enough else None
    interval = None
    if enough and len(set(real.subjects)) >= LEAST_SUBJECTS:
        rng = np.random.default_rng(bootstrap_seed)
        interval = _interval(distance, samples, real, value, rng, resamples)
    return {
        "value": value,
        "interval_95": interval,
        "images": numbers,
        "subjects": len(set(real.subjects)),
        **_floor(
            distance, numbers, real, everyone, np.random.default_rng(division_seed), divisions
        ),
    }


def _interval(
    distance: Distance,
    samples: np.ndarray,
    real: RealSet,
    value: float,
    rng: np.random.Generator,
    resamples: int,
) -> list[float]:
    rows = _rows_by_subject(real)
    draws = []
    for _ in range(resamples):
        drawn = samples[rng.integers(len(samples), size=len(samples))]
        subjects = rng.integers(len(rows), size=len(rows))
        drawn_real = real.features[np.concatenate([rows[subject] for subject in subjects])]
        draws.append(distance(drawn, drawn_real))
    return (value + np.quantile(draws, [0.025, 0.975]) - np.mean(draws)).tolist()


def _floor(
    distance: Distance,
    numbers: Sequence[int],
    real: RealSet,
    everyone: RealSet,
    rng: np.random.Generator,
    divisions: int,
) -> dict:
    rows = _rows_by_subject(everyone)
    counterpart = min(len(set(real.subjects)), len(rows) // 2)
    values, images = [], []
    for _ in range(divisions):
        order = rng.permutation(len(rows))
        sides = [
            np.concatenate([np.empty(0, int), *(rows[subject] for subject in subjects)])
            for subjects in (order[counterpart:], order[:counterpart])
        ]
        sides = [
            rng.permutation(side)[:number] for side, number in zip(sides, numbers, strict=True)
        ]
        images.append([len(side) for side in sides])
        if min(images[-1]) < LEAST_IMAGES:
            return dict.fromkeys(("floor", "floor_range", "floor_images"))
        values.append(distance(*(everyone.features[side] for side in sides)))
    return {
        "floor": float(np.mean(values)),
        "floor_range": [float(min(values)), float(max(values))],
        "floor_images": np.mean(images, axis=0).round().astype(int).tolist(),
    }


def _rows_by_subject(real: RealSet) -> list[np.ndarray]:
    subjects = np.asarray(real.subjects)
    return [np.flatnonzero(subjects == name) for name in np.unique(subjects)]


def _covariance(features: np.ndarray) -> np.ndarray:
    centred = features - features.mean(axis=0)
    return centred.T @ centred / (len(features) - 1)


def _covariance_factor(features: np.ndarray) -> np.ndarray:
    """A of at most D rows with A^T A = the covariance of the rows of (N, D)."""
    if len(features) <= features.shape[1]:
        return (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    values, vectors = np.linalg.eigh(_covariance(features))
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def _checked(features: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = np.asarray(features, np.float64), np.asarray(other, np.float64)
    alike = all(x.ndim == 2 and len(x) > 1 for x in pair) and pair[0].shape[1] == pair[1].shape[1]
    if not alike or not all(np.isfinite(x).all() for x in pair):
        raise ValueError(
            "Two sets of finite feature vectors are needed, at least two a set and equally long, "
            f"got {pair[0].shape} and {pair[1].shape}."
        )
    return pair

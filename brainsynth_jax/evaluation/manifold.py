"""Do samples lie where real images lie, and do they reach all that real images reach?

Features are (N, D) float arrays, one row an image, both sets from the same feature space. Each
image has a ball around it that reaches to its k-th nearest image of its own set, and a set's balls
together stand for where such images can be. All four measures ask what lies in whose balls.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from brainsynth_jax.evaluation.distances import RealSet, check_features, divide_by_subject

# Naeem et al.'s choice: 97 % of a set is then covered by another of the same distribution.
NEIGHBOURS = 5

# With fewer, a ball holds over a tenth of its set: what lies anywhere near is inside, and all four
# measures are high. A share is then also uncertain by 0.1 and more.
LEAST_IMAGES = 50

_ROWS_A_CALL = 512


class Overlap(NamedTuple):
    """How two sets lie in each other's balls.

    Attributes:
        precision: share of samples inside the ball of any real image, 0 to 1.
        recall: share of real images inside the ball of any sample, 0 to 1.
        density: in how many balls of real images a sample is on average, divided by k; 0 or more.
        coverage: share of real images whose ball has a sample inside, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def measure_overlap(samples: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS) -> Overlap:
    """Precision, recall, density and coverage of samples against real images.

    Precision and recall are those of Kynkaanniemi et al., 2019 (arXiv 1904.06991), equations 1 and
    2, density and coverage those of Naeem et al., 2020 (arXiv 2002.09797), section 3. An image is
    no neighbour of its own.

    The surface of a ball belongs to it, as in equation 1 of the former; the latter's published
    code leaves it out. The two differ only where distances are exactly equal, which is where images
    coincide. More than k equal images have balls of radius 0, which hold just their equals: a
    constant set against itself has precision, recall and coverage 1, and density N / k. A copy of a
    set of different images has density (k + 1) / k against it, as each ball holds the copies of its
    centre and of its k neighbours.

    Two sets of one distribution have an expected density of 1 and an expected coverage of
    1 - (N - 1)...(N - k) / ((N + M - 1)...(N + M - k)), whatever the distribution. Their precision
    and recall fall as D and the numbers rise (Gaussians with k = 5, D = 240: 0.78 with 100 images,
    0.64 with 1,000). A density far above 1 is no merit: samples that crowd where many balls meet
    have it, up to N / k.

    Args:
        samples: (M, D) features.
        real: (N, D) features.
        neighbours: k, at least 1.

    Raises:
        ValueError: fewer than k + 1 rows, different numbers of features, or not finite.
    """
    samples, real = check_features(samples, real, least=neighbours + 1)
    sample_radii, real_radii = _radii(samples, neighbours), _radii(real, neighbours)
    balls = np.zeros(len(samples), int)
    recalled, covered = [], []
    for rows in _parts(len(real)):
        distances = cdist(real[rows], samples)
        inside = distances <= real_radii[rows, None]
        balls += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((distances <= sample_radii).any(axis=1))
    return Overlap(
        precision=float(np.mean(balls > 0)),
        recall=float(np.concatenate(recalled).mean()),
        density=float(balls.mean() / neighbours),
        coverage=float(np.concatenate(covered).mean()),
    )


def realism_scores(
    samples: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """How far inside the real images each sample lies.

    Equation 5 of Kynkaanniemi et al., 2019 (arXiv 1904.06991): the greatest, over real images, of
    the radius of the image's ball by the sample's distance from its centre. As there, the half of
    the balls that are larger are left out: they stand where real images are few, and cover much
    that no real image is like.

    Args:
        samples: (M, D) features.
        real: (N, D) features.
        neighbours: k, at least 1.

    Returns:
        (M,) 0 or more; at 1 or more a sample is inside a ball. Infinite on top of a real image.

    Raises:
        ValueError: fewer than k + 1 real rows, different numbers of features, or not finite.
    """
    samples, real = check_features(samples, real, least=1)
    check_features(real, real, least=neighbours + 1)
    radii = _radii(real, neighbours)
    kept = radii <= np.median(radii)
    centres, radii = real[kept], radii[kept]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [
            # A ball of radius 0, of equal images, holds just their equals.
            np.nan_to_num(radii / cdist(samples[rows], centres), nan=np.inf, posinf=np.inf)
            for rows in _parts(len(samples))
        ]
    return np.concatenate([part.max(axis=1) for part in ratios])


def compare_overlap(
    samples: np.ndarray,
    real: RealSet,
    everyone: RealSet,
    seed: int,
    cuts: int = 5,
    divisions: int = 20,
) -> dict:
    """`measure_overlap` of samples and held-out real images, beside that of real images alone.

    Beside each value stands what real images get in the samples' place: `everyone` is divided by
    subject as for the floor of `distances.compare_to_real`, and one side measured against the
    other. Slices of a subject have each other for neighbours, so their balls are small, and real
    slices of other subjects often lie outside.

    All numbers are at one number of images a set: more samples than real images raise recall and
    coverage of the same generator (Lai et al., 2025, doi 10.1007/s10278-025-01536-0), and more of
    both lower precision and recall. It is the smallest of the samples, the held-out images and the
    sides of all divisions; larger sets are cut to it at random.

    The ranges are lowest and highest over the cuts, and over the divisions. The first says what
    cutting does, not how the value would vary with other subjects; the second is nearer to that.
    There is no bootstrap: an image drawn twice is its own neighbour at distance 0, and its ball
    shrinks.

    Args:
        samples: (M, D) features.
        real: held-out images.
        everyone: all real images that there are, the held-out ones among them.
        seed: decides cuts and divisions.
        cuts: that the values are the mean of, where there is anything to cut.
        divisions: that the values between real images are the mean of.

    Returns:
        `precision`, `recall`, `density` and `coverage`, each with `value`, `range` ([low, high]
        over cuts; None where nothing was cut), `real` and `real_range` (between real subjects, over
        divisions); `images` [samples, real], `subjects`, `compared_images` of each set, and
        `neighbours`. With fewer than 50 images on a side there is no number; with fewer on a side
        of a division, as with a single subject, `real` and `real_range` are None. JSON-safe.

    Raises:
        ValueError: as `measure_overlap`.
    """
    division_seed, cut_seed = np.random.SeedSequence(seed).spawn(2)
    images = [len(samples), len(real.features)]
    subjects, number = len(set(real.subjects)), min(images)
    rng = np.random.default_rng(division_seed)
    sides = list(divide_by_subject(everyone.subjects, subjects, 2 * [number], divisions, rng))
    smallest = min(len(side) for pair in sides for side in pair)
    between = []
    if smallest >= LEAST_IMAGES:
        number = smallest
        between = [
            measure_overlap(*(everyone.features[side[:number]] for side in pair)) for pair in sides
        ]
    values = []
    if number >= LEAST_IMAGES:
        rng = np.random.default_rng(cut_seed)
        for _ in range(cuts if number < max(images) else 1):
            drawn = (rng.permutation(x)[:number] for x in (samples, real.features))
            values.append(measure_overlap(*drawn))
    result = {}
    for name in Overlap._fields:
        value, spread = _mean_and_range([getattr(overlap, name) for overlap in values])
        of_real, spread_of_real = _mean_and_range([getattr(overlap, name) for overlap in between])
        result[name] = {
            "value": value,
            "range": spread,
            "real": of_real,
            "real_range": spread_of_real,
        }
    return {
        **result,
        "images": images,
        "subjects": subjects,
        "compared_images": number if values else None,
        "neighbours": NEIGHBOURS,
    }


def _mean_and_range(values: list[float]) -> tuple[float | None, list[float] | None]:
    mean = float(np.mean(values)) if values else None
    return mean, [min(values), max(values)] if len(values) > 1 else None


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """(N,) distances of images to their k-th nearest; each is its own 0-th."""
    return np.concatenate(
        [
            np.partition(cdist(features[rows], features), neighbours, axis=1)[:, neighbours]
            for rows in _parts(len(features))
        ]
    )


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_A_CALL) for start in range(0, count, _ROWS_A_CALL))

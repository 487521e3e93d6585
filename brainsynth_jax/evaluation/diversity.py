"""How varied samples are, and whether they draw on all training subjects.

Features are (N, D) float arrays, one row an image, all sets from the same feature space. Both
measures are effective numbers, exp of an entropy, and grow with the number of images. So samples
stand beside real images at equal numbers.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.special import entr

from brainsynth_jax.evaluation.distances import (
    LEAST_IMAGES,
    LEAST_SUBJECTS,
    RealSet,
    check_features,
    divide_by_subject,
)

# A larger set is cut: the time grows with the cube of the number.
MOST_IMAGES = 500

_BANDWIDTH_SHARE = 0.5
_IMAGES_A_CALL = 256


def vendi_score(similarity: np.ndarray) -> float:
    """The effective number of different images in a set, the Vendi score.

    Friedman and Dieng, 2022 (arXiv 2210.02410), definition 3.1: exp of the Shannon entropy of the
    eigenvalues of K / N. From 1, all are the same, to N, none is like another.

    Args:
        similarity: K, (N, N), symmetric and positive semi-definite, 1 on its diagonal.

    Raises:
        ValueError: not square, symmetric and finite, or something else on the diagonal.
    """
    similarity = np.asarray(similarity, np.float64)
    square = similarity.ndim == 2 and similarity.shape[0] == similarity.shape[1] > 0
    if not (
        square and np.allclose(similarity, similarity.T) and np.allclose(similarity.diagonal(), 1)
    ):
        raise ValueError(
            "A symmetric and finite matrix with 1 on its diagonal is needed, got one of shape "
            f"{similarity.shape} that is not."
        )
    eigenvalues = np.linalg.eigvalsh(similarity / len(similarity))
    return _effective_number(np.clip(eigenvalues, 0, None))  # a 0 may round to less


def gaussian_similarity(features: np.ndarray, bandwidth: float) -> np.ndarray:
    """exp(-|x - y|^2 / (2 bandwidth^2)) of all pairs: (N, D) -> (N, N) float64.

    Raises:
        ValueError: no features, not finite, or a bandwidth that is not above 0.
    """
    features, _ = check_features(features, features, least=1)
    if not bandwidth > 0:
        raise ValueError(f"A bandwidth above 0 is needed, got {bandwidth}.")
    similarity = squareform(np.exp(-pdist(features, "sqeuclidean") / (2 * bandwidth**2)))
    np.fill_diagonal(similarity, 1)
    return similarity


def compare_diversity(samples: np.ndarray, real: RealSet, seed: int, cuts: int = 10) -> dict:
    """The Vendi score of samples beside that of as many real images.

    Similarity is Gaussian, its bandwidth half the median distance between real images. The usual
    cosine sees only the direction from the origin, here the average training image: samples that
    shrink towards it keep their score, and samples that are merely shifted lose theirs. With the
    whole median as bandwidth all are alike: 20 BraTS slices, ten times each, score 0.7 of what 200
    different ones do, and 0.3 with half of it.

    The larger set is cut at random, the real one such that as many subjects as can be remain, and
    the score is the mean over the cuts. Give real images of many subjects, those trained on for
    one: the slices of a few are less varied than samples ought to be.

    Samples of a new brain each score above 1, but so does noise; and blur takes variety away. The
    ratio has to stand beside a distance.

    Args:
        samples: (N, D) features.
        real: real images.
        seed: decides cuts and halves.
        cuts: that a score is the mean of; as often are the subjects halved.

    Returns:
        `samples` and `real`, scores from 1 to `images`; `ratio`, samples by real; `ratio_of_halves`
        [lowest, highest], the same between two random halves of the real subjects, either way
        round: a ratio in this range says nothing; `bandwidth`, in the features' unit; `images`, the
        number on each side, at most 500; `subjects`, of the real images. All but the last two are
        None with fewer than 8 images on a side, or where most pairs of real images are equal;
        `ratio_of_halves` also where a half has fewer than 8. JSON-safe.

    Raises:
        ValueError: a set is empty, different numbers of features, not finite, or not one subject
            an image.
    """
    samples, features = check_features(samples, real.features, least=1)
    subjects, owners = _owners(real)
    count = min(len(samples), len(features), MOST_IMAGES)
    nothing = {
        **dict.fromkeys(("samples", "real", "ratio", "ratio_of_halves", "bandwidth")),
        "images": count,
        "subjects": len(subjects),
    }
    if count < LEAST_IMAGES:
        return nothing
    rng = np.random.default_rng(seed)
    bandwidth = _BANDWIDTH_SHARE * np.median(pdist(features[_draw(owners, MOST_IMAGES, rng)]))
    if bandwidth == 0:
        return nothing
    ours = _mean_score(samples, np.arange(len(samples)), count, bandwidth, rng, cuts)
    theirs = _mean_score(features, owners, count, bandwidth, rng, cuts)
    return nothing | {
        "samples": ours,
        "real": theirs,
        "ratio": ours / theirs,
        "ratio_of_halves": _ratio_of_halves(real, count, bandwidth, rng, cuts),
        "bandwidth": float(bandwidth),
    }


def subject_spread(
    samples: np.ndarray, train: RealSet, heldout: RealSet | None, seed: int, cuts: int = 10
) -> dict:
    """How samples fall on the training subjects: does the generator draw only some of them?

    A sample is given to the subject whose training slice is nearest to it. A subject with more
    slices is nearer by chance, so each stands with as many as the median subject has, drawn at
    random, or with all where it has fewer; results are means over such cuts. The smallest number
    would be more even, but with a slice or three of each, the samples of one BraTS subject fall on
    two or three: slices of one height are nearer to each other than those of one brain.

    Held-out slices fall unevenly, too, the more so the fewer subjects they are of: samples, each of
    a new brain, ought to reach more subjects than they do. The two are compared at equal numbers,
    the larger set cut at random every time, held-out slices such that as many of their subjects as
    can be remain.

    Args:
        samples: (N, D) features.
        train: the training slices, or an even selection of them.
        heldout: slices of other subjects, or None.
        seed: decides the cuts.
        cuts: that results are means of.

    Returns:
        `shares`, of samples by training subject; `effective_subjects`, exp of their entropy, from 1
        to the smaller of `subjects` and `samples`; `effective_subjects_of_training`, the same of
        the training slices by their owners, which samples that repeat these evenly would reach;
        `slices_a_subject`, the most that one stands with; `heldout`: `shares` of held-out slices,
        `effective_subjects` of them and `effective_subjects_of_samples`, both at `images` a side,
        and the number of their `subjects`; and the numbers `subjects`, of training, and `samples`.
        All but the last two are None with fewer than 8 samples or 2 training subjects; `heldout`
        also without 8 slices of theirs. JSON-safe.

    Raises:
        ValueError: a set is empty, different numbers of features, not finite, or not one subject
            an image.
    """
    samples, known = check_features(samples, train.features, least=1)
    subjects, owners = _owners(train)
    nothing = {
        **dict.fromkeys(("shares", "effective_subjects", "effective_subjects_of_training")),
        **dict.fromkeys(("slices_a_subject", "heldout")),
        "subjects": len(subjects),
        "samples": len(samples),
    }
    if heldout:
        theirs, _ = check_features(heldout.features, known, least=1)
        their_subjects, their_owners = _owners(heldout)
    if len(samples) < LEAST_IMAGES or len(subjects) < LEAST_SUBJECTS:
        return nothing
    rng = np.random.default_rng(seed)
    slices = np.bincount(owners)
    most = int(np.median(slices))
    chosen = [_turns(owners, rng) < most for _ in range(cuts)]
    fallen = _nearest_owners(samples, known, owners, chosen)
    result = nothing | {
        "shares": _mean_shares(fallen, subjects),
        "effective_subjects": _mean_effective(fallen),
        "effective_subjects_of_training": _effective_number(slices / slices.sum()),
        "slices_a_subject": most,
    }
    if heldout and len(theirs) >= LEAST_IMAGES:
        count = min(len(samples), len(theirs))
        theirs_fallen = _nearest_owners(theirs, known, owners, chosen)
        cut = [row[_draw(np.arange(len(row)), count, rng)] for row in fallen]
        theirs_cut = [row[_draw(their_owners, count, rng)] for row in theirs_fallen]
        result["heldout"] = {
            "shares": _mean_shares(theirs_fallen, subjects),
            "effective_subjects": _mean_effective(theirs_cut),
            "effective_subjects_of_samples": _mean_effective(cut),
            "images": count,
            "subjects": len(their_subjects),
        }
    return result


def _mean_score(
    features: np.ndarray,
    owners: np.ndarray,
    count: int,
    bandwidth: float,
    rng: np.random.Generator,
    cuts: int,
) -> float:
    drawn = [
        features[_draw(owners, count, rng)] for _ in range(cuts if count < len(features) else 1)
    ]
    return float(np.mean([vendi_score(gaussian_similarity(cut, bandwidth)) for cut in drawn]))


def _ratio_of_halves(
    real: RealSet, count: int, bandwidth: float, rng: np.random.Generator, divisions: int
) -> list[float] | None:
    features, everyone = np.asarray(real.features), len(real.subjects)
    ratios = []
    for halves in divide_by_subject(real.subjects, everyone, [count, count], divisions, rng):
        number = min(map(len, halves))
        if number < LEAST_IMAGES:
            return None
        score, other = (
            vendi_score(gaussian_similarity(features[rows[:number]], bandwidth)) for rows in halves
        )
        ratios += [score / other, other / score]
    return [min(ratios), max(ratios)]


def _nearest_owners(
    images: np.ndarray, known: np.ndarray, owners: np.ndarray, chosen: Sequence[np.ndarray]
) -> np.ndarray:
    """(C, N): whose known image is nearest, for each of C choices of these, (T,) bool each."""
    lengths = np.square(known).sum(axis=1)
    found = np.empty((len(chosen), len(images)), int)
    for start in range(0, len(images), _IMAGES_A_CALL):
        part = slice(start, start + _IMAGES_A_CALL)
        squares = lengths - 2 * images[part] @ known.T
        for row, stand in zip(found, chosen, strict=True):
            row[part] = owners[np.where(stand, squares, np.inf).argmin(axis=1)]
    return found


def _mean_shares(fallen: np.ndarray, subjects: Sequence[str]) -> dict[str, float]:
    shares = np.bincount(fallen.ravel(), minlength=len(subjects)) / fallen.size
    return dict(zip(map(str, subjects), shares.tolist(), strict=True))


def _mean_effective(fallen: Sequence[np.ndarray]) -> float:
    return float(np.mean([_effective_number(np.bincount(row) / len(row)) for row in fallen]))


def _effective_number(shares: np.ndarray) -> float:
    """exp of the entropy of shares that sum to 1."""
    return float(np.exp(entr(shares).sum()))


def _draw(owners: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` rows at random, of as many subjects as can be."""
    return np.lexsort((rng.random(len(owners)), _turns(owners, rng)))[:count]


def _turns(owners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers each subject's images from 0, in random order."""
    order = np.lexsort((rng.random(len(owners)), owners))
    turns = np.empty(len(owners), int)
    turns[order] = np.arange(len(owners)) - np.searchsorted(owners[order], owners[order])
    return turns


def _owners(images: RealSet) -> tuple[np.ndarray, np.ndarray]:
    """The subjects in name order, and for each image the number of its own."""
    if len(images.subjects) != len(images.features):
        raise ValueError(
            f"One subject an image is needed, got {len(images.subjects)} for "
            f"{len(images.features)} images."
        )
    return np.unique(np.asarray(images.subjects), return_inverse=True)

"""How alike images are: one and its partner, and those of one set, which tells of collapse.

Images are (N, S, S, 1) float in [-1, 1]. MS-SSIM of random pairs is the usual sign of collapse
(Odena et al., 2017, arXiv 1610.09585): a set whose pairs are more alike than pairs of real images
lacks their variety. The black background that all slices share counts as agreement, so a value
means something only beside that of real slices of the same size.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from brainsynth_jax.evaluation.chunks import in_chunks

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
DATA_RANGE = 2.0

# (K L)^2 of Wang et al., 2004.
_LUMINANCE_CONSTANT = (0.01 * DATA_RANGE) ** 2
_CONTRAST_CONSTANT = (0.03 * DATA_RANGE) ** 2

_PAIRS_A_CALL = 32


def count_scales(side: int) -> int:
    """How many of the five scales an image has: each must hold the 11x11 window.

    Five from 176 pixels on, four from 88, three from 44, two from 22, one from 11.

    Raises:
        ValueError: the image is smaller than the window.
    """
    if side < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels a side, got {side}.")
    return sum(side >> scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))


@jax.jit
def ssim(image: Array, other: Array) -> Array:
    """Structural similarity of each image with its partner, at one scale.

    Wang, Bovik, Sheikh and Simoncelli, 2004, "Image quality assessment: from error visibility to
    structural similarity", equations 13 to 17, averaged over the places where the Gaussian window
    (11x11, sigma 1.5) lies inside the image. scikit-image's mean, over all but the outermost 5
    pixels, is the same number.

    Args:
        image: (N, S, S, 1) in [-1, 1], S at least 11.
        other: the same shape.

    Returns:
        (N,) float32, -1 to 1; 1 for equal images.

    Raises:
        ValueError: shapes differ, or images are smaller than the window.
    """
    _check_shapes(image, other)
    count_scales(image.shape[1])
    return _ssim(image[..., 0], other[..., 0])[0].mean((1, 2))


@jax.jit
def ms_ssim(image: Array, other: Array) -> Array:
    """Multi-scale structural similarity of each image with its partner.

    Wang, Simoncelli and Bovik, 2003, "Multi-scale structural similarity for image quality
    assessment", equation 7: contrast times structure at every scale, luminance at the coarsest,
    each averaged over the places where the Gaussian window (11x11, sigma 1.5) lies inside the
    image. A scale's images are the 2x2 means of the finer one's. Images with room for fewer than
    five scales (`count_scales`) use the first weights, divided by their sum. A negative mean
    counts as 0: its power would be no real number.

    Args:
        image: (N, S, S, 1) in [-1, 1], S at least 11.
        other: the same shape.

    Returns:
        (N,) float32, 0 to 1; 1 for equal images.

    Raises:
        ValueError: shapes differ, or images are smaller than the window.
    """
    _check_shapes(image, other)
    x, y = image[..., 0], other[..., 0]
    scales = count_scales(x.shape[1])
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    similarity = jnp.ones(len(x))
    for scale, weight in enumerate(weights):
        whole, contrast = _ssim(x, y)
        mean = (whole if scale == scales - 1 else contrast).mean((1, 2))
        similarity *= jnp.maximum(mean, 0.0) ** weight
        x, y = _halve(x), _halve(y)
    return similarity


def pairwise_ms_ssim(
    images: np.ndarray,
    pairs: int,
    seed: int,
    subjects: Sequence[str] | None = None,
    resamples: int = 2_000,
) -> dict:
    """Mean MS-SSIM over random pairs of different images of one set, with its trust.

    Where `subjects` are given, the two images of a pair are of different subjects: neighbouring
    slices of one subject are alike without any collapse, and samples, each drawn afresh, have no
    such neighbours.

    The interval is a 95 % percentile bootstrap that draws whole subjects (else images) with
    replacement; a pair counts as often as both its images were drawn together. A bootstrap over
    pairs would take pairs that share an image for independent evidence. This one errs to the wide
    side (Owen, 2007, arXiv 0712.1111).

    Args:
        images: (N, S, S, 1) in [-1, 1].
        pairs: how many; all that there are if these are fewer.
        seed: decides pairs and resamples.
        subjects: N names, whose image each is, or None for images that are independent.
        resamples: of the bootstrap.

    Returns:
        `mean` (None without a pair), `interval_95` ([low, high] or None below three subjects or
        images, which make only one pair), `pairs` and `images`, the numbers used. JSON-safe.
    """
    count = len(images)
    owner = np.unique(np.arange(count) if subjects is None else subjects, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(count, k=1)
    possible = np.flatnonzero(owner[first] != owner[second])
    if not len(possible):
        return {"mean": None, "interval_95": None, "pairs": 0, "images": count}
    chosen = np.sort(rng.permutation(possible)[:pairs])
    first, second = first[chosen], second[chosen]
    images = np.asarray(images)
    values = in_chunks(lambda i, j: ms_ssim(images[i], images[j]), _PAIRS_A_CALL, first, second)
    return {
        "mean": float(values.mean()),
        "interval_95": _interval(values, owner[first], owner[second], rng, resamples),
        "pairs": len(values),
        "images": count,
    }


def _interval(
    values: np.ndarray,
    owner: np.ndarray,
    other_owner: np.ndarray,
    rng: np.random.Generator,
    resamples: int,
) -> list[float] | None:
    owners = max(owner.max(), other_owner.max()) + 1
    if owners < 3:
        return None
    times = rng.multinomial(owners, np.full(owners, 1 / owners), size=resamples)
    weights = times[:, owner] * times[:, other_owner]
    drawn = weights.sum(axis=1)
    means = (weights @ values)[drawn > 0] / drawn[drawn > 0]
    return np.quantile(means, [0.025, 0.975]).tolist()


def _check_shapes(image: Array, other: Array) -> None:
    if image.shape != other.shape:
        raise ValueError(f"Images of one shape are needed, got {image.shape} and {other.shape}.")


def _ssim(x: Array, y: Array) -> tuple[Array, Array]:
    """Maps of SSIM and of its contrast-structure term, (N, S - 10, S - 10) each."""
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    contrast = (2 * covariance + _CONTRAST_CONSTANT) / (variances + _CONTRAST_CONSTANT)
    luminance = (2 * mean_x * mean_y + _LUMINANCE_CONSTANT) / (
        mean_x**2 + mean_y**2 + _LUMINANCE_CONSTANT
    )
    return luminance * contrast, contrast


def _blur(x: Array) -> Array:
    """(N, S, S) -> (N, S - 10, S - 10): the Gaussian window as two products with a band matrix.

    XLA is slow at one-channel convolutions on a CPU, and fast at matrix products.
    """
    side = x.shape[1]
    places = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-(places**2) / (2 * SIGMA**2))
    band = np.zeros((side - WINDOW + 1, side), np.float32)
    for row in range(len(band)):
        band[row, row : row + WINDOW] = window / window.sum()
    return jnp.einsum("ri,nij,sj->nrs", band, x, band, precision=lax.Precision.HIGHEST)


def _halve(x: Array) -> Array:
    side = x.shape[1] // 2 * 2
    x = x[:, :side, :side]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4

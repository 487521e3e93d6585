"""For each image the training slice most like it, by pixels and by features.

Pixels, coarse and aligned, tell a copy in spite of noise, blur, mirroring and a small shift.
Features tell one that is sharp, or lies between two slices of one patient; the encoder is made to
notice noise and blur, so these hide a copy from it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from brainsynth_jax.models.resize import area_shares

# Coarse enough that noise and blur do not hide a copy.
COMPARED_SIZE = 32

# What is kept of an image is twice as fine as what is compared, for the moves.
_KEPT_SIZE = 2 * COMPARED_SIZE
_BACKGROUND = -1
_IMAGES_A_CALL = 64
_REFERENCES_A_CALL = 1024


class Move(NamedTuple):
    """How a reference is laid over an image: mirrored first, then moved.

    Attributes:
        mirrored: left to right.
        down: in 128ths of the side, up if negative.
        right: in 128ths of the side, left if negative.
    """

    mirrored: bool
    down: int
    right: int


# Up to a pixel of those compared, in quarters: a copy that lies half a pixel off is as far away as
# a stranger. Small steps come first, for of equally good moves the first is taken.
_STEPS = (0, -1, 1, -2, 2, -3, 3, -4, 4)
_STEPS_A_PIXEL = 4
MOVES = tuple(Move(*move) for move in product((False, True), _STEPS, _STEPS))


class Nearest(NamedTuple):
    """For each of N images the reference most like it.

    Attributes:
        distances: (N,) float64, root-mean-square difference per pixel or feature.
        indices: (N,) int, which reference.
        moves: (N,) int, which of `MOVES` lays it over the image; 0 for features.
    """

    distances: np.ndarray
    indices: np.ndarray
    moves: np.ndarray


class Neighbours(NamedTuple):
    """The nearest training slices of N images, by pixels and by features."""

    image: Nearest
    feature: Nearest


class Slices(NamedTuple):
    """All that is compared of N slices.

    Attributes:
        coarse: (N, 64, 64, 1) float32, by `coarsen`.
        features: (N, D).
        subjects: N names.
    """

    coarse: np.ndarray
    features: np.ndarray
    subjects: Sequence[str]


def coarsen(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 1) -> (N, 64, 64, 1) float32, averaged: all that `nearest_distances` looks at.

    Smaller images are enlarged.
    """
    # In double precision sums of pixels do not depend on their order, so that a copy that was
    # mirrored or moved is at 0.
    shares = area_shares(images.shape[1], _KEPT_SIZE).astype(np.float64)

    def average(images: np.ndarray) -> np.ndarray:
        return np.einsum("ri,nijc,sj->nrsc", shares, images, shares, optimize=True)

    starts = range(0, len(images), _IMAGES_A_CALL)
    parts = [average(images[start : start + _IMAGES_A_CALL]) for start in starts]
    return np.concatenate(parts).astype(np.float32)


def align(images: np.ndarray, move: Move) -> np.ndarray:
    """Images (N, S, S, 1) as `move` lays them, to the nearest pixel; -1 comes in at the edges."""
    side = images.shape[1]
    step = side / (_STEPS_A_PIXEL * COMPARED_SIZE)
    down, right = round(move.down * step), round(move.right * step)
    if move.mirrored:
        images = images[:, :, ::-1]
    moved = np.full_like(images, _BACKGROUND)
    moved[:, _overlap(down), _overlap(right)] = images[:, _overlap(-down), _overlap(-right)]
    return moved


def nearest_distances(images: np.ndarray, references: np.ndarray) -> Nearest:
    """The nearest reference of every image, by their pixels.

    Both are averaged to 32 x 32 pixels. Each reference is laid over the image in 162 ways, as it is
    or mirrored left to right, and moved by up to a 32nd of the side (8 pixels of 256) up or down
    and left or right, in quarters of that; the nearest counts. What comes in at an edge is
    background, -1, so that every pixel counts at every move: with the overlap alone, a move that
    pushes a difference out of the picture would be favoured.

    Args:
        images: (N, S, S, 1) in [-1, 1].
        references: (M, S, S, 1) in [-1, 1].

    Raises:
        ValueError: no image or no reference, different sizes, or not finite.
    """
    if 0 in (len(images), len(references)) or images.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"Images of one size are needed, got {images.shape} and {references.shape}."
        )
    # Brightness above the background, so that zeros come in at the edges.
    images, references = (coarsen(part)[..., 0] + 1 for part in (images, references))
    if not (np.isfinite(images).all() and np.isfinite(references).all()):
        raise ValueError("Finite images are needed, got pixels that are NaN or infinite.")
    blocks = (
        (start, number, moved)
        for start in range(0, len(references), _REFERENCES_A_CALL)
        for number, moved in enumerate(_lay(references[start : start + _REFERENCES_A_CALL]))
    )
    return _search(next(_lay(images)), blocks)


def nearest_features(features: np.ndarray, references: np.ndarray) -> Nearest:
    """The nearest reference of every image, (N, D) and (M, D), by their features.

    Raises:
        ValueError: no image or no reference, different numbers of features, or not finite.
    """
    features, references = (np.asarray(part, np.float64) for part in (features, references))
    if features.shape[1:] != references.shape[1:] or not all(
        part.ndim == 2 and part.size and np.isfinite(part).all() for part in (features, references)
    ):
        raise ValueError(
            "Finite feature vectors of one length are needed, got "
            f"{features.shape} and {references.shape}."
        )
    blocks = (
        (start, 0, references[start : start + _REFERENCES_A_CALL])
        for start in range(0, len(references), _REFERENCES_A_CALL)
    )
    return _search(features, blocks)


def find_neighbours(coarse: np.ndarray, features: np.ndarray, training: Slices) -> Neighbours:
    """The nearest training slices of N images, (N, 64, 64, 1) by `coarsen` and (N, D)."""
    return Neighbours(
        nearest_distances(coarse, training.coarse), nearest_features(features, training.features)
    )


def _search(images: np.ndarray, blocks: Iterable[tuple[int, int, np.ndarray]]) -> Nearest:
    """The row most like each image's, of blocks (number of the first reference, move, rows)."""
    squares = np.full(len(images), np.inf)
    indices, moves = np.zeros((2, len(images)), int)
    for start, move, block in blocks:
        nearest = (np.square(block).sum(axis=1) - 2 * images @ block.T).argmin(axis=1)
        # From the difference itself: the products above round, and a copy is to be at 0.
        found = np.square(images - block[nearest]).mean(axis=1, dtype=np.float64)
        nearer = found < squares
        squares[nearer], moves[nearer] = found[nearer], move
        indices[nearer] = start + nearest[nearer]
    return Nearest(np.sqrt(squares), indices, moves)


def _lay(coarse: np.ndarray) -> Iterator[np.ndarray]:
    """(N, 64, 64), background 0 -> (N, 1024), as 32 x 32 pixels, for each of `MOVES`."""
    shares = {step: _shares(step) for step in _STEPS}
    for mirrored in (False, True):
        turned = np.ascontiguousarray(coarse[:, :, ::-1]) if mirrored else coarse
        for down in _STEPS:
            rows = (shares[down] @ turned).reshape(-1, _KEPT_SIZE)
            for right in _STEPS:
                yield (rows @ shares[right].T).reshape(len(coarse), -1)


def _shares(step: int) -> np.ndarray:
    """(32, 64) float32: enlarges 64 pixels to 128, moves them by `step`, averages to 32."""
    side = _STEPS_A_PIXEL * COMPARED_SIZE
    move = np.eye(side, k=-step, dtype=np.float32)
    return area_shares(side, COMPARED_SIZE) @ move @ area_shares(_KEPT_SIZE, side)


def _overlap(step: int) -> slice:
    """Where along an axis a picture that was moved by `step` lies within the frame."""
    return slice(max(step, 0), min(step, 0) or None)

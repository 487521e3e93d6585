"""Feature spaces: how an image becomes the vector by which sets are compared.

Distances of two runs may be compared only where their spaces have the same fingerprint.
"""

import contextlib
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.chunks import in_chunks
from brainsynth_jax.files import read_arrays, write_arrays
from brainsynth_jax.models.encoder import Encoder
from brainsynth_jax.models.resize import area_average
from brainsynth_jax.training.encoder import INVARIANCES, Params, train_encoder

# To be raised with every change of code that changes a feature.
RECIPE_VERSION = 1

# So few cannot be told apart by what all of them share.
_LEAST_TO_CONTRAST = 16
_PCA_SIDE = 32
_IMAGES_A_CALL = 32
_LEAST_SPREAD = 1e-3


class FeatureSpace(NamedTuple):
    """A way from images to feature vectors, and all that identifies it.

    Attributes:
        name: one word.
        recipe: one sentence for the report.
        dimensions: D.
        fingerprint: 12 hex digits of the recipe, the images it was made from and its weights.
        extract: (N, S, S, 1) float in [-1, 1], N at least 1 -> (N, D) float32.
    """

    name: str
    recipe: str
    dimensions: int
    fingerprint: str
    extract: Callable[[np.ndarray], np.ndarray]


def make_space(images: np.ndarray, seed: int, cache_dir: Path | None = None) -> FeatureSpace:
    """The features of an encoder, or where there are fewer than 16 images to train it on, PCA."""
    if len(images) < _LEAST_TO_CONTRAST:
        return pca_space(images)
    return encoder_space(images, seed, cache_dir=cache_dir)


def encoder_space(
    images: np.ndarray,
    seed: int,
    steps: int = 100,
    show_progress: bool = True,
    cache_dir: Path | None = None,
) -> FeatureSpace:
    """The features of an encoder that is trained here, on the spot, see `train_encoder`.

    Each feature is standardised by the training images' mean and standard deviation.

    Args:
        images: (N, S, S, 1) in [-1, 1], slices of training subjects only.
        seed: decides the encoder's weights.
        steps: of its training.
        show_progress: whether a person is told how far the training is.
        cache_dir: where trained encoders are kept for the next time; None to keep none.
    """
    encoder = Encoder()
    recipe = (
        f"A convolutional encoder of {len(encoder.widths)} layers, trained on these data by "
        f"{steps} steps of contrastive learning (SimCLR, seed {seed}) to know slices again after "
        f"{', '.join(INVARIANCES)}; mean and standard deviation of each channel, standardised on "
        f"{len(images)} training slices."
    )
    kept = cache_dir and Path(cache_dir) / "encoders" / f"{_fingerprint(recipe, images)}.npz"
    stored = kept and read_arrays(kept)
    if stored:
        params = unflatten_dict(stored, sep="/")
    else:
        params = train_encoder(images, seed, steps, show_progress=show_progress)
        if kept:
            with contextlib.suppress(UserError):  # without room it is trained again next time
                write_arrays(kept, flatten_dict(jax.device_get(params), sep="/"))

    def extract_raw(images: np.ndarray) -> np.ndarray:
        images = np.asarray(images, np.float32)
        return in_chunks(partial(_encode, params), _IMAGES_A_CALL, images)

    known = extract_raw(images)
    mean, spread = known.mean(axis=0), np.maximum(known.std(axis=0), _LEAST_SPREAD)
    return FeatureSpace(
        "encoder",
        recipe,
        encoder.dimensions,
        _fingerprint(recipe, images, *jax.tree.leaves(params)),  # they may round as machines do
        lambda images: (extract_raw(images) - mean) / spread,
    )


def pca_space(images: np.ndarray, dimensions: int = 64) -> FeatureSpace:
    """The principal components of the pixels at 32 x 32, in the images' own unit.

    It needs no training and sees where things are, but hardly any texture: blurring real slices
    brings them *nearer* to other real slices here. A fallback.

    Args:
        images: (N, S, S, 1) in [-1, 1], slices of training subjects only.
        dimensions: D, at most the number of images and of pixels.
    """

    def pixels(images: np.ndarray) -> np.ndarray:
        return np.asarray(area_average(np.asarray(images, np.float32), _PCA_SIDE)).reshape(
            len(images), -1
        )

    known = pixels(images)
    mean = known.mean(axis=0)
    axes = np.linalg.svd(known - mean, full_matrices=False)[2][:dimensions]
    recipe = (
        f"The first {len(axes)} principal components of the pixels at {_PCA_SIDE} x {_PCA_SIDE}, "
        f"fitted on {len(images)} training slices."
    )
    return FeatureSpace(
        "pca",
        recipe,
        len(axes),
        _fingerprint(recipe, images),
        lambda images: (pixels(images) - mean) @ axes.T,
    )


@jax.jit
def _encode(params: Params, images: jax.Array) -> jax.Array:
    return Encoder().apply({"params": params}, images)


def _fingerprint(recipe: str, *arrays: np.ndarray) -> str:
    digest = hashlib.sha256(f"{RECIPE_VERSION} {recipe} {arrays[0].shape}".encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()[:12]

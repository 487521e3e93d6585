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
from brainsynth_jax.evaluation.onnx_encoder import load_encoder
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

# (N, S, S, 1) float32 in [-1, 1] -> (N, D), each image by itself.
Function = Callable[[np.ndarray], np.ndarray]


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
    extract: Function


def make_space(
    images: np.ndarray, seed: int, cache_dir: Path | None = None, onnx_file: str | None = None
) -> FeatureSpace:
    """The features of the user's own encoder where one is given, else of one trained here.

    Of fewer than 16 images, which are too few to train one on, principal components are taken.

    Args:
        images: (N, S, S, 1) in [-1, 1], slices of training subjects only.
        seed: of the encoder that is trained here.
        cache_dir: where that one is kept for the next time.
        onnx_file: the user's own, see `onnx_encoder.load_encoder`, which tells what it raises.
    """
    if onnx_file:
        given = load_encoder(onnx_file)
        return function_space(images, "onnx", given.recipe, given.extract, given.digest)
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
        f"{', '.join(INVARIANCES)}; mean and standard deviation of each channel"
    )
    key = _fingerprint(_whole(recipe, images), images)
    kept = cache_dir and Path(cache_dir) / "encoders" / f"{key}.npz"
    stored = kept and read_arrays(kept)
    if stored:
        params = unflatten_dict(stored, sep="/")
    else:
        params = train_encoder(images, seed, steps, show_progress=show_progress)
        if kept:
            with contextlib.suppress(UserError):  # without room it is trained again next time
                write_arrays(kept, flatten_dict(jax.device_get(params), sep="/"))
    return function_space(
        images,
        "encoder",
        recipe,
        lambda images: in_chunks(partial(_encode, params), _IMAGES_A_CALL, images),
        *jax.tree.leaves(params),  # they may round as machines do
    )


def function_space(
    images: np.ndarray, name: str, recipe: str, function: Function, *identity: np.ndarray | bytes
) -> FeatureSpace:
    """The features that any function gives, such as an encoder of the user's own.

    Each feature is standardised by the training images' mean and standard deviation.

    Args:
        images: (N, S, S, 1) in [-1, 1], slices of training subjects only.
        name: one word.
        recipe: what the function is, for the report, which adds on what it was standardised.
        function: treats each image by itself.
        identity: what else the features depend on, such as weights: part of the fingerprint, as
            recipe and images are. Without it, another function has to have another recipe.

    Raises:
        ValueError: the function does not give one finite vector an image.
    """

    def extract_raw(images: np.ndarray) -> np.ndarray:
        features = np.asarray(function(np.asarray(images, np.float32)), np.float32)
        if features.ndim != 2 or len(features) != len(images) or not np.isfinite(features).all():
            raise ValueError(
                f'Feature space "{name}": one finite vector is needed for each of {len(images)} '
                f"images, got {features.shape}, of which "
                f"{np.count_nonzero(~np.isfinite(features))} numbers are not finite."
            )
        return features

    known = extract_raw(images)
    mean, spread = known.mean(axis=0), np.maximum(known.std(axis=0), _LEAST_SPREAD)
    recipe = _whole(recipe, images)
    return FeatureSpace(
        name,
        recipe,
        known.shape[1],
        _fingerprint(recipe, images, *identity),
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


def _whole(recipe: str, images: np.ndarray) -> str:
    return f"{recipe}, standardised on {len(images)} training slices."


def _fingerprint(recipe: str, images: np.ndarray, *identity: np.ndarray | bytes) -> str:
    digest = hashlib.sha256(f"{RECIPE_VERSION} {recipe} {images.shape}".encode())
    for part in (images, *identity):
        whole = isinstance(part, bytes)
        digest.update(part if whole else np.ascontiguousarray(part, np.float32).tobytes())
    return digest.hexdigest()[:12]

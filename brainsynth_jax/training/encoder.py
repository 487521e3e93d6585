"""Trains the encoder by which sets of images are compared, without labels and without downloads."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from brainsynth_jax.models.encoder import LARGEST_SIDE, Encoder, Projection
from brainsynth_jax.models.resize import area_average
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.augmentation import augment

Params = Any

LEARNING_RATE = 2e-3
TEMPERATURE = 0.1

# What does not make another slice of a slice. Blur and noise are missing on purpose: the features
# are to tell sharp images from blurred ones.
INVARIANCES = ("shift", "flip", "intensity")

_ENCODER, _PROJECTION = Encoder(), Projection()
_ADAM = optax.scale_by_adam()


def contrastive_loss(first: Array, second: Array, temperature: float = TEMPERATURE) -> Array:
    """NT-Xent: each view has to find the other view of its image among all views.

    Chen et al., 2020 (arXiv 2002.05709), equation 1, averaged over both directions.

    Args:
        first: (N, D) unit vectors, one view of each image.
        second: (N, D), the other view.
        temperature: what cosines are divided by.

    Returns:
        Scalar, 0 or more.
    """
    count = len(first)
    views = jnp.concatenate([first, second])
    scores = jnp.where(jnp.eye(2 * count, dtype=bool), -jnp.inf, views @ views.T / temperature)
    partners = jnp.roll(jnp.arange(2 * count), count)
    return optax.softmax_cross_entropy_with_integer_labels(scores, partners).mean()


def train_encoder(
    images: np.ndarray,
    seed: int,
    steps: int = 100,
    batch_size: int = 32,
    show_progress: bool = True,
) -> Params:
    """Trains an `Encoder` to know slices again after a shift, a flip or a change of intensity.

    SimCLR (Chen et al., 2020, arXiv 2002.05709) with Adam and a cosine schedule. It takes half a
    minute on two cores, and on one machine the same arguments give the same weights.

    Args:
        images: (N, S, S, 1) in [-1, 1], background -1; slices of training subjects only. At least
            two.
        seed: decides the first weights, the batches and the views.
        steps: updates; 0 leaves the first weights.
        batch_size: images a step, each in two views; all of them if there are fewer.
        show_progress: whether a person is told how far it is.

    Returns:
        The encoder's parameters.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"At least two images are needed to tell apart, got {len(images)}.")
    images = area_average(images, LARGEST_SIDE)
    rng = np.random.default_rng(seed)
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, max(steps, 1))
    start_key, steps_key = jax.random.split(jax.random.key(seed))
    params = _create_params(start_key, images[:1])
    moments = _ADAM.init(params)
    with Progress("Training the encoder", steps, "step", shown=show_progress) as progress:
        for step in range(steps):
            chosen = rng.permutation(len(images))[:batch_size]
            key = jax.random.fold_in(steps_key, step)
            params, moments = _update(params, moments, images[chosen], schedule(step), key)
            jax.block_until_ready(params)
            progress.advance()
    return params["encoder"]


@jax.jit
def _create_params(key: Array, image: Array) -> Params:
    encoder_key, projection_key = jax.random.split(key)
    features = jnp.zeros((1, _ENCODER.dimensions))
    return {
        "encoder": _ENCODER.init(encoder_key, image)["params"],
        "projection": _PROJECTION.init(projection_key, features)["params"],
    }


@jax.jit
def _update(
    params: Params, moments: optax.OptState, batch: Array, rate: Array, key: Array
) -> tuple[Params, optax.OptState]:
    keys = jax.random.split(key, 2 * len(batch))
    views = augment(jnp.concatenate([batch, batch]), INVARIANCES, 1.0, keys)
    updates, moments = _ADAM.update(jax.grad(_loss)(params, views), moments)
    return jax.tree.map(lambda param, update: param - rate * update, params, updates), moments


def _loss(params: Params, views: Array) -> Array:
    features = _ENCODER.apply({"params": params["encoder"]}, views)
    vectors = _PROJECTION.apply({"params": params["projection"]}, features)
    return contrastive_loss(*jnp.split(vectors, 2))

"""Trains the network that finds tumour, always in the same way, so that only the data differ."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from brainsynth_jax import losses
from brainsynth_jax.errors import UserError
from brainsynth_jax.models.segmenter import Segmenter
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.augmentation import augment
from brainsynth_jax.training.initialisation import initialise

Params = Any

STEPS = 600
BATCH_SIZE = 8
LEARNING_RATE = 2e-3
SEGMENTER = Segmenter()

# Images that are on the device at once, to be predicted.
_IMAGES_A_CALL = 64

# Steps that are queued before they are waited for.
_STEPS_A_LOOK = 10

_ADAM = optax.scale_by_adam()


def train_segmenter(
    images: np.ndarray,
    masks: np.ndarray,
    seed: int,
    steps: int = STEPS,
    augmented: bool = False,
    network: Segmenter = SEGMENTER,
    show_progress: bool = True,
    chances: np.ndarray | None = None,
    rate: float = LEARNING_RATE,
) -> Params:
    """Trains a `Segmenter` on pairs by soft Dice and cross-entropy, with Adam and a cosine.

    The sum of the two losses is nnU-Net's (Isensee et al., 2021, Nature Methods 18). Steps are
    counted, not passes through the data: more pairs do not mean more training. The batch of step k
    is a function of (seed, k), so on one machine the same arguments give the same weights.

    Args:
        images: (N, S, S, 1) float32 in [-1, 1], background -1.
        masks: (N, S, S) bool, True where there is tumour.
        seed: 0 or more; decides the first weights, the batches and the changes of images.
        steps: updates, of `BATCH_SIZE` pairs each.
        augmented: whether half of the pairs are flipped left to right, and brightness is scaled.
        network: what is trained.
        show_progress: whether a person is told how far it is.
        chances: (N,), sum 1, with which each pair is drawn; None for equal ones.
        rate: of the first step. The default is the small `Segmenter`'s.

    Returns:
        The network's parameters.

    Raises:
        ValueError: the images and masks are no pairs, or out of range.
        UserError: the training diverged.
    """
    _check_pairs(images, masks)
    start_key, steps_key = jax.random.split(jax.random.key(seed))
    params = initialise(network, start_key, images[:1])["params"]
    moments = _ADAM.init(params)
    schedule = optax.cosine_decay_schedule(rate, max(steps, 1))
    with Progress("Training the segmenter", steps, "step", shown=show_progress) as progress:
        for step in range(steps):
            rng = np.random.default_rng([seed, step])
            chosen = rng.choice(len(images), BATCH_SIZE, p=chances)
            key = jax.random.fold_in(steps_key, step)
            batch = images[chosen], masks[chosen, ..., None]
            params, moments = _update(
                network, augmented, params, moments, *batch, schedule(step), key
            )
            if (step + 1) % _STEPS_A_LOOK == 0:
                jax.block_until_ready(params)
            progress.advance()
    if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
        raise UserError(
            f"The segmentation network diverged within {steps} steps of seed {seed}: its weights "
            "are no numbers any more. Look for odd intensities with experiments/check_data.py, or "
            "take another --seed."
        )
    return params


def predict(
    params: Params,
    images: np.ndarray,
    network: Segmenter = SEGMENTER,
) -> np.ndarray:
    """The tumour masks that a trained network draws: where it is more likely than not.

    Args:
        params: from `train_segmenter`.
        images: (N, S, S, 1) in [-1, 1], N at least 1.
        network: the one that was trained.

    Returns:
        (N, S, S) bool.
    """
    parts = [
        np.asarray(_predict(network, params, images[start : start + _IMAGES_A_CALL]))
        for start in range(0, len(images), _IMAGES_A_CALL)
    ]
    return np.concatenate(parts)


def _check_pairs(images: np.ndarray, masks: np.ndarray) -> None:
    if not len(images) or masks.dtype != bool or images.shape != (*masks.shape, 1):
        raise ValueError(
            "At least one image (N, S, S, 1) and as many boolean masks (N, S, S) are needed, got "
            f"{images.dtype} {images.shape} and {masks.dtype} {masks.shape}."
        )
    if not (np.abs(images) <= 1).all():  # NaN is not
        raise ValueError(
            f"Images in [-1, 1] are needed, got values from {images.min():g} to {images.max():g}."
        )


@partial(jax.jit, static_argnums=(0, 1))
def _update(
    network: Segmenter,
    augmented: bool,
    params: Params,
    moments: optax.OptState,
    images: Array,
    masks: Array,
    rate: Array,
    key: Array,
) -> tuple[Params, optax.OptState]:
    if augmented:
        images, masks = _augment(images, masks, key)
    gradients = jax.grad(partial(_loss, network))(params, images, masks)
    updates, moments = _ADAM.update(gradients, moments)
    return jax.tree.map(lambda param, update: param - rate * update, params, updates), moments


def _loss(network: Segmenter, params: Params, images: Array, masks: Array) -> Array:
    logits = network.apply({"params": params}, images)
    return losses.soft_dice_loss(logits, masks) + losses.binary_cross_entropy(logits, masks)


def _augment(images: Array, masks: Array, key: Array) -> tuple[Array, Array]:
    """The usual changes: an image is flipped with its mask, its brightness changes alone."""
    flip_keys, intensity_keys = jax.random.split(key, (2, len(images)))
    pairs = jnp.concatenate([images, masks], axis=-1)
    pairs = augment(pairs, ("flip",), 1.0, flip_keys)
    images, masks = pairs[..., :1], pairs[..., 1:]
    return augment(images, ("intensity",), 1.0, intensity_keys), masks


@partial(jax.jit, static_argnums=0)
def _predict(network: Segmenter, params: Params, images: Array) -> Array:
    def draw(image: Array) -> Array:
        return network.apply({"params": params}, image[None])[0, ..., 0] > 0

    return jax.lax.map(draw, images, batch_size=BATCH_SIZE)

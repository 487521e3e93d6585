"""Slices drawn from a trained generator."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brainsynth_jax.models.dcgan import BATCH_NORM_DECAY
from brainsynth_jax.training.calls import aligned_calls
from brainsynth_jax.training.dcgan import Dcgan, DcganState, Params, Statistics, draw_latents
from brainsynth_jax.training.parallel import place_batch, place_state

# Batch-norm statistics for sampling come from so many batches of so many latents.
_CALIBRATION_BATCHES, _CALIBRATION_IMAGES = 8, 32
_IMAGES_A_CALL = 32

Weights = tuple[Params, Statistics]


def _pool(layer: dict[str, Array]) -> dict[str, Array]:
    """Mean and variance over equal batches together, from those of each, (batches, channels)."""
    mean = layer["mean"].mean(axis=0)
    return {"mean": mean, "var": (layer["var"] + (layer["mean"] - mean) ** 2).mean(axis=0)}


class Sampler:
    """Draws slices: image k of a seed is the same whatever is drawn with it and wherever.

    Its functions are compiled once and serve every state of the run:
    `sampler.draw(sampler.load(state), seed, count)`.

    Args:
        model: of the run.
        with_dropout: keeps the dropout of training on.
        devices: share each call; None for the first.
        images_a_call: drawn at a time, a multiple of the number of devices.
    """

    def __init__(
        self,
        model: Dcgan,
        with_dropout: bool = False,
        devices: Sequence[jax.Device] | None = None,
        images_a_call: int = _IMAGES_A_CALL,
    ) -> None:
        self._model = model
        self._with_dropout = with_dropout
        self._devices = devices or jax.local_devices()[:1]
        self._images_a_call = images_a_call
        self._generate = jax.jit(self._generate_slices)
        self._measure = jax.jit(self._measure_batch)

    def load(self, state: DcganState) -> Weights:
        """The weights to draw with, placed on the devices: the averaged ones where there are."""
        return place_state((state.best_generator, self._calibrate(state)), self._devices)

    def draw(
        self,
        weights: Weights,
        seed: int,
        count: int,
        first: int = 0,
        advance: Callable[[int], None] = lambda images: None,
    ) -> np.ndarray:
        """Images `first` to `first + count - 1` of a seed.

        Args:
            weights: from `load`.
            seed: 0 or more.
            count: how many.
            first: number of the first.
            advance: told after each call how many images it gave.

        Returns:
            (count, S, S, 1) float32 in [-1, 1]: the mean of the generator's channels, which are all
            equal in training images.
        """
        key, parts = jax.random.key(seed), []
        for start, wanted in aligned_calls(first, count, self._images_a_call):
            numbers = jnp.arange(start, start + self._images_a_call)
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
            images = self._generate(*weights, place_batch(keys, self._devices))
            parts.append(np.asarray(images)[wanted])
            advance(len(parts[-1]))
        return np.concatenate(parts)

    def _calibrate(self, state: DcganState) -> Statistics:
        """Batch-norm statistics of the weights that are sampled, in the way they are sampled.

        The stored ones belong to weights of earlier steps, not averaged, under dropout. These are
        those of all images of several batches of fixed latents together ("precise" statistics, Wu
        and Johnson, 2021, arXiv 2105.07576, section 3).
        """
        batches = jax.random.split(jax.random.key(0), _CALIBRATION_BATCHES)
        measured = [
            self._measure(
                state.best_generator,
                state.generator_statistics,
                jax.random.split(key, _CALIBRATION_IMAGES),
            )
            for key in batches
        ]
        layers = jax.tree.map(lambda *batches: jnp.stack(batches), *measured)
        return jax.tree.map(_pool, layers, is_leaf=lambda layer: "mean" in layer)

    def _measure_batch(self, params: Params, like: Statistics, keys: Array) -> Statistics:
        """One batch's own statistics: from 0, a moving average moves by a known part of them."""
        latent_keys, dropout_keys = jax.vmap(jax.random.split)(keys).T
        _, moved = self._model.generator.apply(
            {"params": params, "batch_stats": jax.tree.map(jnp.zeros_like, like)},
            draw_latents(self._model, latent_keys),
            dropout_keys if self._with_dropout else None,
            True,
            mutable=["batch_stats"],
        )
        return jax.tree.map(lambda x: x / (1 - BATCH_NORM_DECAY), moved["batch_stats"])

    def _generate_slices(self, params: Params, statistics: Statistics, keys: Array) -> Array:
        latent_keys, dropout_keys = jax.vmap(jax.random.split)(keys).T
        image = self._model.generator.apply(
            {"params": params, "batch_stats": statistics},
            draw_latents(self._model, latent_keys),
            dropout_keys if self._with_dropout else None,
        )
        # Their mean, channel by channel: XLA's own sums over three values are slow.
        return sum(jnp.split(image, image.shape[-1], axis=-1)) / image.shape[-1]

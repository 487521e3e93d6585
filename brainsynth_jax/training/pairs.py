"""Labelled slices that no patient has: real tumours changed, and slices drawn from the masks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brainsynth_jax.data.mask_warps import warp_tumors
from brainsynth_jax.data.masks import render_mask
from brainsynth_jax.models.resize import area_average
from brainsynth_jax.training.calls import aligned_calls

Params = Any

IMAGES_A_CALL = 8


class DrawnSlices(NamedTuple):
    """Slices drawn from changed masks.

    Attributes:
        images: (N, S, S, 1) float32 in [-1, 1].
        tissue: (N, S, S), what each was drawn from, codes of `masks`.
        sources: (N,) int, which mask was changed for it.
    """

    images: np.ndarray
    tissue: np.ndarray
    sources: np.ndarray


class Pairs(NamedTuple):
    """Slices and where their tumour is.

    Attributes:
        images: (N, S, S, 1) float32 in [-1, 1].
        masks: (N, S, S) bool, whole tumour.
    """

    images: np.ndarray
    masks: np.ndarray


def draw_from_masks(
    generator_ba: Callable[[Params, Array], Array],
    params: Params,
    tissue: np.ndarray,
    mask_style: str,
    mask_classes: str,
    count: int,
    seed: int,
    first: int = 0,
    advance: Callable[[int], None] = lambda pairs: None,
) -> DrawnSlices:
    """Changes real masks by `warp_tumors` and draws a slice for each.

    Args:
        generator_ba: parameters and mask pictures (N, S, S, 1) -> MR slices, each without regard to
            the others.
        params: its parameters.
        tissue: (M, S, S), codes of `masks`, of training subjects. Each serves as often as others.
        mask_style: one of `masks.MASK_STYLES`, that of the generator's training.
        mask_classes: one of `masks.MASK_CLASSES`, likewise.
        count: N.
        seed: 0 or more; decides which masks are taken and how they are changed.
        first: number of the first slice.
        advance: told after each call how many slices it gave.

    Returns:
        Slices `first` to `first + N - 1`: slice k is the same whatever is drawn with it.
    """
    draw = jax.jit(generator_ba)
    order = np.random.default_rng(seed).permutation(len(tissue))
    images, changed, sources = [], [], []
    for start, wanted in aligned_calls(first, count, IMAGES_A_CALL):
        taken = order[np.arange(start, start + IMAGES_A_CALL) % len(order)]
        masks = warp_tumors(tissue[taken], seed, start)
        pictures = render_mask(masks, mask_style, mask_classes)[..., None]
        images.append(np.asarray(draw(params, pictures))[wanted])
        changed.append(masks[wanted])
        sources.append(taken[wanted])
        advance(len(images[-1]))
    return DrawnSlices(*map(np.concatenate, (images, changed, sources)))


def shrink_pairs(pairs: Pairs, size: int) -> Pairs:
    """The pairs at `size` x `size` pixels, areas averaged; tumour is where half of an area is.

    Pairs that are no larger are returned as they are.
    """

    def average(images: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), IMAGES_A_CALL)
        parts = (images[start : start + IMAGES_A_CALL] for start in starts)
        return np.concatenate(
            [area_average(jnp.asarray(part, jnp.float32), size) for part in parts]
        )

    if pairs.images.shape[1] <= size:
        return pairs
    # Averages may leave [-1, 1] by a rounding error.
    return Pairs(
        np.clip(average(pairs.images), -1, 1), average(pairs.masks[..., None])[..., 0] >= 0.5
    )

"""A trained CycleGAN on slices whose truth is known: what goes into evaluation.json."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brainsynth_jax import losses
from brainsynth_jax.data.masks import decode_tumor, is_brain, is_tumor
from brainsynth_jax.data.pipeline import SliceBatch
from brainsynth_jax.evaluation.segmentation import score_subjects, summarize_subjects
from brainsynth_jax.evaluation.threshold import ThresholdBaseline, apply_threshold
from brainsynth_jax.evaluation.translation import (
    mae,
    mse,
    paired_cycle,
    score_hidden_channel,
    score_translation,
    table2,
)
from brainsynth_jax.training.cyclegan import CycleGan, CycleGanState

# Added to a generated mask: six steps of an 8-bit picture, which drowns what is fine and faint,
# and a seventh of the least distance between two grey levels of a mask (1/3), so that one pixel in
# a thousand comes nearer to another level than to its own.
NOISE_STD = 0.05


class Translations(NamedTuple):
    """Slices sent through both generators and back, and how the discriminators saw them.

    Attributes:
        fake_b: G_AB(A), (N, H, W, 1) in [-1, 1].
        cycled_a: G_BA(G_AB(A)).
        fake_a: G_BA(B).
        cycled_b: G_AB(G_BA(B)).
        cycled_a_rounded: G_BA of G_AB(A) rounded to the mask's grey levels; None where these are
            not known. What it reconstructs worse than `cycled_a` was in greys that no mask has.
        cycled_a_noisy: G_BA of G_AB(A) plus Gaussian noise of NOISE_STD. Every slice gets the same
            noise, so that it depends on no other slice, and two runs are compared like with like.
        terms: the seven losses that `translation.table2` takes, means over the images.
    """

    fake_b: np.ndarray
    cycled_a: np.ndarray
    fake_a: np.ndarray
    cycled_b: np.ndarray
    cycled_a_rounded: np.ndarray | None
    cycled_a_noisy: np.ndarray
    terms: dict[str, float]


class MaskStyle(NamedTuple):
    """How masks are drawn, and from which grey level on a drawn pixel is tumour.

    Attributes:
        style: one of `masks.MASK_STYLES`.
        classes: one of `masks.MASK_CLASSES`.
        threshold: in [-1, 1].
    """

    style: str
    classes: str
    threshold: float


def make_translate(
    model: CycleGan, levels: np.ndarray | None
) -> Callable[..., tuple[dict[str, Array], dict[str, Array]]]:
    """Returns a compiled `translate(generators, discriminators, image_a, image_b)`.

    No dropout, no pool, discriminators without noise: the networks as they are used, not as they
    are trained. It returns the images of `Translations` and its terms for the batch.

    Args:
        model: of the run.
        levels: grey levels of a mask picture, None where they are not known.
    """

    def generate(params: Any, image: Array) -> Array:
        return model.generator.apply({"params": params}, image)

    def judge(params: Any, image: Array) -> Array:
        return model.discriminator.apply({"params": params}, image)

    @jax.jit
    def translate(generators, discriminators, image_a, image_b):
        fake_b = generate(generators["ab"], image_a)
        fake_a = generate(generators["ba"], image_b)
        noise = NOISE_STD * jax.random.normal(jax.random.key(0), fake_b.shape[1:])
        images = {
            "fake_b": fake_b,
            "cycled_a": generate(generators["ba"], fake_b),
            "fake_a": fake_a,
            "cycled_b": generate(generators["ab"], fake_a),
            "cycled_a_noisy": generate(generators["ba"], fake_b + noise),
        }
        if levels is not None:
            nearest = jnp.abs(fake_b - levels).argmin(axis=-1, keepdims=True)
            images["cycled_a_rounded"] = generate(generators["ba"], jnp.asarray(levels)[nearest])
        scores_fake_a = judge(discriminators["a"], fake_a)
        scores_fake_b = judge(discriminators["b"], fake_b)
        terms = {
            "dis_real_a": losses.least_squares_real(judge(discriminators["a"], image_a)),
            "dis_fake_a": losses.least_squares_fake(scores_fake_a),
            "dis_real_b": losses.least_squares_real(judge(discriminators["b"], image_b)),
            "dis_fake_b": losses.least_squares_fake(scores_fake_b),
            "adv_ab": losses.least_squares_real(scores_fake_b),
            "adv_ba": losses.least_squares_real(scores_fake_a),
            "cycle": model.cycle_weight
            * (
                losses.mean_absolute_error(images["cycled_a"], image_a)
                + losses.mean_absolute_error(images["cycled_b"], image_b)
            ),
        }
        return images, terms

    return translate


def translate_slices(
    translate: Callable,
    state: CycleGanState,
    image_a: np.ndarray,
    image_b: np.ndarray,
    advance: Callable[[], None] = lambda: None,
) -> Translations:
    """Sends equally many slices of A and B, (N, H, W, 1) each, through the networks one by one.

    The averaged weights of the generators are used where the state has some.

    Args:
        translate: from `make_translate`.
        state: of the run.
        image_a: MR slices.
        image_b: mask pictures; their order need not be that of `image_a`.
        advance: called after each slice, for a progress bar.
    """
    images, terms = [], []
    for a, b in zip(image_a, image_b, strict=True):
        made, losses_of_pair = jax.device_get(
            translate(state.best_generators, state.discriminators, a[None], b[None])
        )
        images.append(made)
        terms.append(losses_of_pair)
        advance()
    return Translations(
        **{"cycled_a_rounded": None}
        | {name: np.concatenate([made[name] for made in images]) for name in images[0]},
        terms={name: float(np.mean([term[name] for term in terms])) for name in terms[0]},
    )


def draw_tumors(
    generator_ab: Callable[[Any, Array], Array], state: CycleGanState, image_a: np.ndarray
) -> np.ndarray:
    """Only G_AB's mask pictures (N, H, W, 1), slice by slice."""
    params = state.best_generators["ab"]
    return np.concatenate([jax.device_get(generator_ab(params, a[None])) for a in image_a])


def score_masks(
    fake_b: np.ndarray, slices: SliceBatch, mask: MaskStyle, seed: int
) -> dict[str, dict]:
    """G_AB's tumours against the true ones: `{"subjects": ..., "summary": ...}`."""
    drawn = decode_tumor(fake_b[..., 0], mask.style, mask.classes, mask.threshold)
    return _scores(drawn, slices, seed)


def evaluate_split(
    made: Translations,
    slices_a: SliceBatch,
    slices_b: SliceBatch,
    mask: MaskStyle | None,
    baseline: ThresholdBaseline | None,
    seed: int,
) -> dict:
    """One split's part of evaluation.json.

    Args:
        made: from `translate_slices` of the images below.
        slices_a: N slices of A.
        slices_b: N slices of B; `slices_a` itself where the truth is known.
        mask: None where no true masks are known; what needs them is then None.
        baseline: the tuned threshold, None with `mask`.
        seed: of the bootstraps.

    Returns:
        JSON-safe: `slices` and `subjects`, the numbers; `table2`; `paired_cycle`; `mse` and `mae`
        over all pixels; `translation` (`score_translation` of `a_to_b` and `b_to_a`);
        `hidden_channel` (`score_hidden_channel` of `rounded` and `noisy`, and `noise_std`);
        `segmentation` and `threshold_baseline`, `subjects` and `summary` each.
    """
    image_a, image_b = slices_a.image, slices_b.mask
    errors = {
        name: {
            "a_to_b": measure(made.fake_b, image_b) if mask else None,
            "b_to_a": measure(made.fake_a, image_a) if mask else None,
            "cycled_a": measure(made.cycled_a, image_a),
            "cycled_b": measure(made.cycled_b, image_b),
            "cycled_a_rounded": measure(made.cycled_a_rounded, image_a) if mask else None,
        }
        for name, measure in (("mse", mse), ("mae", mae))
    }
    paired = paired_cycle(image_a, image_b, made.fake_a, made.fake_b) if mask else None
    hidden_channel = score_hidden_channel(
        image_a,
        made.cycled_a,
        {"rounded": made.cycled_a_rounded, "noisy": made.cycled_a_noisy},
        slices_a.subjects,
        seed,
    )
    translation = segmentation = threshold_baseline = None
    if mask:
        translation = {
            "a_to_b": score_translation(made.fake_b, image_b, slices_b.subjects, seed),
            "b_to_a": score_translation(made.fake_a, image_a, slices_a.subjects, seed),
        }
        segmentation = score_masks(made.fake_b, slices_a, mask, seed)
        drawn = apply_threshold(baseline, slices_a.brain_z, is_brain(slices_a.tissue))
        threshold_baseline = {
            "sigma_pixels": baseline.sigma_pixels,
            "threshold": baseline.threshold,
        } | _scores(drawn, slices_a, seed)
    return {
        "slices": len(image_a),
        "subjects": len(set(slices_a.subjects)),
        "table2": table2(**made.terms),
        "paired_cycle": paired,
        **errors,
        "translation": translation,
        "hidden_channel": {"noise_std": NOISE_STD} | hidden_channel,
        "segmentation": segmentation,
        "threshold_baseline": threshold_baseline,
    }


def _scores(drawn: np.ndarray, slices: SliceBatch, seed: int) -> dict[str, dict]:
    subjects = score_subjects(
        drawn, is_tumor(slices.tissue), slices.subjects, slices.slice_numbers, slices.spacing_mm
    )
    return {"subjects": subjects, "summary": summarize_subjects(subjects, seed)}

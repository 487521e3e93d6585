"""A trained CycleGAN on slices whose truth is known: what goes into evaluation.json."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from brainsynth_jax import losses
from brainsynth_jax.data.masks import decode_tumor, is_brain, is_tumor
from brainsynth_jax.data.pipeline import SliceBatch
from brainsynth_jax.evaluation.distances import count_subjects
from brainsynth_jax.evaluation.lesions import (
    COUNTS,
    RATES,
    score_empty_slices,
    score_lesions,
    summarize_empty_slices,
    summarize_lesions,
)
from brainsynth_jax.evaluation.segmentation import (
    METRICS,
    dice,
    score_slices,
    score_subjects,
    summarize_subjects,
)
from brainsynth_jax.evaluation.threshold import ThresholdBaseline, apply_threshold
from brainsynth_jax.evaluation.translation import (
    mae,
    mse,
    paired_cycle,
    score_hidden_channel,
    score_images,
    summarize_translation,
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


class EmptySlices(NamedTuple):
    """Slices without tumour.

    Attributes:
        slices: N of them.
        fake_b: G_AB's mask pictures of them, (N, H, W, 1), see `draw_tumors`.
    """

    slices: SliceBatch
    fake_b: np.ndarray


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
    return _scores(_decode(fake_b, mask), slices, seed)


def evaluate_split(
    made: Translations,
    slices_a: SliceBatch,
    slices_b: SliceBatch,
    mask: MaskStyle | None,
    baseline: ThresholdBaseline | None,
    seed: int,
    empty: EmptySlices | None = None,
) -> dict:
    """One split's part of evaluation.json.

    Args:
        made: from `translate_slices` of the images below.
        slices_a: N slices of A.
        slices_b: N slices of B; `slices_a` itself where the truth is known.
        mask: None where no true masks are known; what needs them is then None.
        baseline: the tuned threshold, None with `mask`.
        seed: of the bootstraps.
        empty: of the same subjects, None where there are none.

    Returns:
        JSON-safe: `slices` and `subjects`, the numbers (None where subjects are unknown); `table2`;
        `paired_cycle`; `mse` and `mae` over all pixels; `translation` (`score_translation` of
        `a_to_b` and `b_to_a`); `hidden_channel` (`score_hidden_channel` of `rounded` and `noisy`,
        and `noise_std`); `segmentation` and `threshold_baseline`, each with `subjects` and
        `summary`, and the same two of `lesions` and of `empty_slices`, None without `empty`;
        `slice_scores`, a row a slice, whose columns are the same in every run: tumour areas,
        `segmentation.score_slices`, the threshold's Dice, and `translation.score_images` of both
        directions.
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
    translation = segmentation = threshold_baseline = slice_scores = None
    if mask:
        of_images = {
            "a_to_b": score_images(made.fake_b, image_b),
            "b_to_a": score_images(made.fake_a, image_a),
        }
        translation = {
            direction: summarize_translation(scores, slices_a.subjects, seed)
            for direction, scores in of_images.items()
        }
        drawn, by_threshold = _decode(made.fake_b, mask), _draw_threshold(slices_a, baseline)
        drawn_empty = by_threshold_empty = None
        if empty:
            drawn_empty = _decode(empty.fake_b, mask), empty.slices
            by_threshold_empty = _draw_threshold(empty.slices, baseline), empty.slices
        segmentation = _localise(drawn, slices_a, drawn_empty, seed)
        threshold_baseline = {
            "sigma_pixels": baseline.sigma_pixels,
            "threshold": baseline.threshold,
        } | _localise(by_threshold, slices_a, by_threshold_empty, seed)
        slice_scores = _list_slices(drawn, by_threshold, slices_a, of_images)
    return {
        "slices": len(image_a),
        "subjects": count_subjects(slices_a.subjects),
        "table2": table2(**made.terms),
        "paired_cycle": paired,
        **errors,
        "translation": translation,
        "hidden_channel": {"noise_std": NOISE_STD} | hidden_channel,
        "segmentation": segmentation,
        "threshold_baseline": threshold_baseline,
        "slice_scores": slice_scores,
    }


def list_subjects(part: Mapping) -> list[dict]:
    """A row a subject of what `evaluate_split` returns: the translator's scores, the threshold's.

    The columns are the same in every run; None where a score is undefined or not measured. No rows
    without true masks.
    """
    ours, theirs = part["segmentation"], part["threshold_baseline"]
    rows = []
    for name, scores in ours["subjects"].items() if ours else ():
        empty = ours["empty_slices"]["subjects"].get(name) if ours["empty_slices"] else None
        rows.append(
            {
                "subject": name,
                "slices": scores["slices"],
                "empty_slices": empty["empty_slices"] if empty else None,
                **_flatten(ours, name),
                **{f"threshold_{key}": value for key, value in _flatten(theirs, name).items()},
            }
        )
    return rows


def _flatten(scores: Mapping, name: str) -> dict[str, float | int | None]:
    lesions = scores["lesions"]["subjects"][name]
    of_empty = (scores["empty_slices"] or {"subjects": {}})["subjects"].get(name, {})
    return {
        **{metric: scores["subjects"][name][metric] for metric in METRICS},
        **{f"lesions_{count}": lesions[count] for count in COUNTS},
        **{f"lesion_{rate}": lesions[rate] for rate in RATES},
        **{f"empty_{key}": of_empty.get(key) for key in ("drawn_share", "drawn_area_mm2")},
    }


def _decode(fake_b: np.ndarray, mask: MaskStyle) -> np.ndarray:
    return decode_tumor(fake_b[..., 0], mask.style, mask.classes, mask.threshold)


def _draw_threshold(slices: SliceBatch, baseline: ThresholdBaseline) -> np.ndarray:
    return apply_threshold(baseline, slices.brain_z, is_brain(slices.tissue))


def _scores(drawn: np.ndarray, slices: SliceBatch, seed: int) -> dict[str, dict]:
    subjects = score_subjects(*_masks(drawn, slices))
    return {"subjects": subjects, "summary": summarize_subjects(subjects, seed)}


def _localise(
    drawn: np.ndarray,
    slices: SliceBatch,
    drawn_empty: tuple[np.ndarray, SliceBatch] | None,
    seed: int,
) -> dict[str, dict | None]:
    lesions, empty = score_lesions(*_masks(drawn, slices)), None
    if drawn_empty:
        of_empty = score_empty_slices(*_masks(*drawn_empty))
        empty = {"subjects": of_empty, "summary": summarize_empty_slices(of_empty, seed)}
    return _scores(drawn, slices, seed) | {
        "lesions": {"subjects": lesions, "summary": summarize_lesions(lesions, seed)},
        "empty_slices": empty,
    }


def _masks(drawn: np.ndarray, slices: SliceBatch) -> tuple:
    """The arguments of `segmentation.split_subjects`."""
    truth = is_tumor(slices.tissue)
    return drawn, truth, slices.subjects, slices.slice_numbers, slices.spacing_mm


def _list_slices(
    drawn: np.ndarray,
    by_threshold: np.ndarray,
    slices: SliceBatch,
    of_images: Mapping[str, Mapping[str, np.ndarray]],
) -> list[dict]:
    """`slice_scores` of `evaluate_split`."""
    truth = is_tumor(slices.tissue)
    places = {
        (subject, int(number)): k
        for k, (subject, number) in enumerate(
            zip(slices.subjects, slices.slice_numbers, strict=True)
        )
    }
    rows = []
    for scores in score_slices(*_masks(drawn, slices)):
        k = places[scores["subject"], scores["slice_number"]]
        pixels = {"true": int(truth[k].sum()), "drawn": int(drawn[k].sum())}
        pixel_mm2 = float(slices.spacing_mm[k, 1:].prod(dtype=np.float64))
        rows.append(
            {
                "subject": scores["subject"],
                "slice_number": scores["slice_number"],
                **{f"{whose}_area_pixels": area for whose, area in pixels.items()},
                **{
                    f"{whose}_area_mm2": _finite(area * pixel_mm2) for whose, area in pixels.items()
                },
                **{metric: scores[metric] for metric in METRICS},
                "threshold_dice": dice(by_threshold[k], truth[k]),
                **{
                    f"{direction}_{name}": _finite(values[k])
                    for direction, of_direction in of_images.items()
                    for name, values in of_direction.items()
                },
            }
        )
    return rows


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

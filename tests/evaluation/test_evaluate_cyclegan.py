"""The translator's evaluation on networks whose answers can be worked out by hand."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.data.masks import BRAIN, ENHANCING, render_mask
from brainsynth_jax.data.pipeline import SliceBatch
from brainsynth_jax.evaluation.cyclegan import (
    NOISE_STD,
    EmptySlices,
    MaskStyle,
    Translations,
    draw_tumors,
    evaluate_split,
    list_subjects,
    make_translate,
    score_masks,
    translate_slices,
)
from brainsynth_jax.evaluation.threshold import ThresholdBaseline

SIZE = 16
MASK = MaskStyle("tumor_in_brain", "whole", 0.5)
LEVELS = np.float32([-1, 0, 1])


class Times:
    """A network that multiplies by its one weight."""

    def apply(self, variables, image):
        return image * variables["params"]


# G_AB doubles, G_BA halves; D_A says the image itself, D_B three times the image.
MODEL = SimpleNamespace(generator=Times(), discriminator=Times(), cycle_weight=10.0)
STATE = SimpleNamespace(
    best_generators={"ab": jnp.float32(2), "ba": jnp.float32(0.5)},
    discriminators={"a": jnp.float32(1), "b": jnp.float32(3)},
)


def flat(*values):
    return np.stack([np.full((SIZE, SIZE, 1), value, np.float32) for value in values])


def glioma_slices(subjects):
    """A slice a subject: brain but for the outermost pixels, a 2x2 tumour of brain_z 3."""
    tissue = np.zeros((len(subjects), SIZE, SIZE), np.uint8)
    tissue[:, 1:-1, 1:-1] = BRAIN
    tissue[:, 3:5, 3:5] = ENHANCING
    return SliceBatch(
        image=np.float32([-0.75, 0, 0.5, 0.5, 0.5])[tissue][..., None],
        mask=render_mask(tissue, MASK.style, MASK.classes)[..., None],
        tissue=tissue,
        subjects=list(subjects),
        slice_numbers=np.arange(len(subjects), dtype=np.int32),
        spacing_mm=np.ones((len(subjects), 3), np.float32),
        brain_z=np.where(tissue > 1, 3, 0).astype(np.float32),
    )


def test_translations_and_their_terms_follow_the_definitions():
    made = translate_slices(make_translate(MODEL, LEVELS), STATE, flat(0.2, 0.3), flat(-0.4, 0.8))
    np.testing.assert_allclose(made.fake_b, flat(0.4, 0.6), rtol=1e-6)
    np.testing.assert_allclose(made.cycled_a, flat(0.2, 0.3), rtol=1e-6)
    np.testing.assert_allclose(made.fake_a, flat(-0.2, 0.4), rtol=1e-6)
    np.testing.assert_allclose(made.cycled_b, flat(-0.4, 0.8), rtol=1e-6)
    # 0.4 is rounded to 0 and 0.6 to 1 before G_BA halves them.
    np.testing.assert_allclose(made.cycled_a_rounded, flat(0, 0.5), atol=1e-6)
    assert made.terms == pytest.approx(
        {
            "dis_real_a": (0.8**2 + 0.7**2) / 2,
            "dis_fake_a": (0.2**2 + 0.4**2) / 2,
            "dis_real_b": ((1 + 1.2) ** 2 + (1 - 2.4) ** 2) / 2,
            "dis_fake_b": (1.2**2 + 1.8**2) / 2,
            "adv_ab": (0.2**2 + 0.8**2) / 2,
            "adv_ba": (1.2**2 + 0.6**2) / 2,
            "cycle": 0.0,
        },
        abs=1e-5,
    )


def test_the_noise_on_a_mask_is_small_and_the_same_in_any_company():
    translate = make_translate(MODEL, None)
    image = flat(0.2, 0.3)
    made = translate_slices(translate, STATE, image, image)
    # G_BA halves the noise with the mask.
    noise = 2 * (made.cycled_a_noisy - made.cycled_a)
    assert noise.std() == pytest.approx(NOISE_STD, rel=0.1)
    assert abs(noise.mean()) < NOISE_STD / 5
    alone = translate_slices(translate, STATE, image[1:], image[1:])
    np.testing.assert_array_equal(alone.cycled_a_noisy, made.cycled_a_noisy[1:])
    at_once, _ = translate(STATE.best_generators, STATE.discriminators, image, image)
    np.testing.assert_allclose(at_once["cycled_a_noisy"], made.cycled_a_noisy, rtol=1e-6)


def test_the_cycle_term_is_weighted():
    model = SimpleNamespace(generator=Times(), discriminator=Times(), cycle_weight=4.0)
    state = SimpleNamespace(
        best_generators={"ab": jnp.float32(2), "ba": jnp.float32(2)},
        discriminators=STATE.discriminators,
    )
    made = translate_slices(make_translate(model, None), state, flat(0.1), flat(0.2))
    assert made.terms["cycle"] == pytest.approx(4 * (3 * 0.1 + 3 * 0.2), rel=1e-5)
    assert made.cycled_a_rounded is None


def test_tumors_are_drawn_by_g_ab_alone_and_progress_is_told():
    told = []
    translate_slices(
        make_translate(MODEL, None), STATE, flat(0, 0, 0), flat(0, 0, 0), lambda: told.append(1)
    )
    assert len(told) == 3
    generator = jax.jit(lambda params, image: Times().apply({"params": params}, image))
    np.testing.assert_allclose(draw_tumors(generator, STATE, flat(0.2, 0.4)), flat(0.4, 0.8))


def translations_of(fake_b, slices):
    return Translations(
        fake_b=fake_b,
        cycled_a=slices.image + 0.1,
        fake_a=slices.image - 0.2,
        cycled_b=slices.mask + 0.3,
        cycled_a_rounded=slices.image + 0.4,
        cycled_a_noisy=slices.image + 0.15,
        terms=dict.fromkeys(
            ("dis_real_a", "dis_fake_a", "dis_real_b", "dis_fake_b", "adv_ab", "adv_ba", "cycle"),
            0.5,
        ),
    )


def test_a_perfect_translator_scores_one_and_each_error_lands_under_its_name():
    slices = glioma_slices(["P1", "P2"])
    baseline = ThresholdBaseline(sigma_pixels=0, threshold=2.0, tuned_dice=1.0)
    part = evaluate_split(
        translations_of(slices.mask, slices), slices, slices, MASK, baseline, seed=0
    )
    assert (part["slices"], part["subjects"]) == (2, 2)
    assert part["mae"] == pytest.approx(
        {"a_to_b": 0, "b_to_a": 0.2, "cycled_a": 0.1, "cycled_b": 0.3, "cycled_a_rounded": 0.4},
        abs=1e-6,
    )
    assert part["mse"]["b_to_a"] == pytest.approx(0.04)
    assert part["translation"]["a_to_b"]["ssim"]["mean"] == pytest.approx(1)
    assert part["translation"]["a_to_b"]["psnr"]["identical"] == 2
    assert part["translation"]["b_to_a"]["mae"]["mean"] == pytest.approx(0.2)
    assert part["translation"]["b_to_a"]["psnr"]["mean"] == pytest.approx(20)
    hidden = part["hidden_channel"]
    assert hidden["noise_std"] == NOISE_STD
    errors = {name: summary["mean"] for name, summary in hidden["mae"].items()}
    assert errors == pytest.approx({"plain": 0.1, "rounded": 0.4, "noisy": 0.15})
    ratios = {name: summary["mean"] for name, summary in hidden["ratio"].items()}
    assert ratios == pytest.approx({"rounded": 4, "noisy": 1.5}, rel=1e-5)
    assert part["paired_cycle"] == pytest.approx(10 * (0 + 0.2))
    assert part["table2"]["Gen"] == pytest.approx(1.5)
    for scores in (part["segmentation"], part["threshold_baseline"]):
        assert scores["summary"]["dice"]["mean"] == 1.0
        assert scores["subjects"].keys() == {"P1", "P2"}
    assert part["threshold_baseline"]["threshold"] == 2.0


class Hides:
    """Networks whose masks look flat: a fiftieth of the scan, too faint to see, and read back."""

    def apply(self, variables, image):
        rounded = jnp.round(image)
        hidden = jnp.clip((image - rounded) / 0.02, -1, 1)
        return jnp.where(variables["params"] == 0, 0.02 * image, hidden)


class Flattens:
    """Networks that keep nothing but the levels -1, 0 and 1."""

    def apply(self, variables, image):
        return jnp.round(image)


@pytest.mark.parametrize(("network", "hides"), [(Hides(), True), (Flattens(), False)])
def test_a_scan_hidden_in_faint_greys_is_found(network, hides):
    slices = glioma_slices(["P1", "P2"])
    image = np.random.default_rng(0).uniform(-1, 1, slices.image.shape).astype(np.float32)
    slices = slices._replace(image=image)
    model = SimpleNamespace(generator=network, discriminator=Times(), cycle_weight=10.0)
    state = SimpleNamespace(
        best_generators={"ab": jnp.float32(0), "ba": jnp.float32(1)},
        discriminators=STATE.discriminators,
    )
    made = translate_slices(make_translate(model, LEVELS), state, image, slices.mask)
    ratios = evaluate_split(made, slices, slices, None, None, seed=0)["hidden_channel"]["ratio"]
    for name in ("rounded", "noisy"):
        low, high = ratios[name]["interval_95"]
        assert low > 100 if hides else low == high == 1, name


def test_a_translator_that_misses_one_subject_scores_half():
    slices = glioma_slices(["P1", "P2"])
    fake_b = slices.mask.copy()
    fake_b[1] = np.minimum(fake_b[1], 0.49)
    scores = score_masks(fake_b, slices, MASK, seed=0)
    assert [scores["subjects"][name]["dice"] for name in ("P1", "P2")] == [1, 0]
    assert scores["summary"]["dice"]["mean"] == 0.5
    assert scores["subjects"]["P2"]["precision"] is None


def test_without_true_masks_what_needs_them_is_none():
    slices = glioma_slices(["P1"])
    made = translations_of(slices.mask, slices)._replace(cycled_a_rounded=None)
    part = evaluate_split(made, slices, slices, None, None, seed=0)
    assert part["segmentation"] is part["threshold_baseline"] is part["paired_cycle"] is None
    assert part["translation"] is part["slice_scores"] is None
    assert list_subjects(part) == []
    for part_of in (part["hidden_channel"]["mae"], part["hidden_channel"]["ratio"]):
        assert part_of["rounded"] is None
        assert part_of["noisy"]["mean"] > 0
    for errors in (part["mae"], part["mse"]):
        missing = {name for name, value in errors.items() if value is None}
        assert missing == {"a_to_b", "b_to_a", "cycled_a_rounded"}


BASELINE = ThresholdBaseline(sigma_pixels=0, threshold=2.0, tuned_dice=1.0)
CORNER, ELSEWHERE = np.s_[2:6, 2:6], np.s_[9:13, 9:13]


def place_slices(tumors, subjects, slice_numbers, spacing_mm=(2, 1, 3)):
    """Brain all over, with a tumour of brain_z 3 in one region a slice, or None."""
    tissue = np.full((len(tumors), SIZE, SIZE), BRAIN, np.uint8)
    for one, region in zip(tissue, tumors, strict=True):
        if region:
            one[region] = ENHANCING
    return glioma_slices(subjects)._replace(
        image=np.float32([-1, 0, 0.5, 0.5, 0.5])[tissue][..., None],
        mask=render_mask(tissue, MASK.style, MASK.classes)[..., None],
        tissue=tissue,
        slice_numbers=np.int32(slice_numbers),
        spacing_mm=np.full((len(tumors), 3), spacing_mm, np.float32),
        brain_z=np.where(tissue > 1, 3, 0).astype(np.float32),
    )


def localise(spacing_mm=(2, 1, 3)):
    """A: of two lesions, cut apart by a gap, one found, and one drawn falsely. B: one, in part."""
    slices = place_slices([CORNER] * 4, ["B", "A", "A", "A"], [3, 8, 5, 6], spacing_mm)
    drawn = place_slices([np.s_[2:5, 2:6], ELSEWHERE, CORNER, CORNER], "BAAA", range(4)).mask
    made = translations_of(drawn, slices)._replace(
        fake_a=slices.image + np.float32([0.1, 0.2, 0.3, 0.4])[:, None, None, None]
    )
    blank = place_slices([None] * 3, ["A", "A", "B"], [1, 2, 1], spacing_mm)
    blank.brain_z[2][CORNER] = 3
    fake_b = place_slices([np.s_[0:3, 0:4], None, np.s_[0:3, 0]], "AAB", range(3)).mask
    empty = EmptySlices(blank, fake_b)
    return evaluate_split(made, slices, slices, MASK, BASELINE, seed=0, empty=empty)


def test_lesions_and_empty_slices_stand_beside_the_thresholds():
    part = localise()
    ours, theirs = part["segmentation"], part["threshold_baseline"]

    def counts(scores):
        return {
            name: tuple(lesions[key] for key in ("found", "missed", "false", "gaps"))
            for name, lesions in scores["lesions"]["subjects"].items()
        }

    assert counts(ours) == {"A": (1, 1, 1, 1), "B": (1, 0, 0, 0)}
    assert counts(theirs) == {"A": (2, 0, 0, 1), "B": (1, 0, 0, 0)}
    summary = ours["lesions"]["summary"]
    assert summary["sensitivity"]["mean"] == pytest.approx((1 / 2 + 1) / 2)
    assert (summary["found"], summary["gaps"]) == (2, 1)
    # 32 and 16 voxels of 6 mm^3.
    assert [size["found"] for size in summary["by_size"]] == [0, 2, 0, 0, 0]
    assert ours["empty_slices"]["subjects"] == {
        "A": {"empty_slices": 2, "drawn_share": 0.5, "drawn_area_mm2": 12 * 3 / 2},
        "B": {"empty_slices": 1, "drawn_share": 0.0, "drawn_area_mm2": 3 * 3},
    }
    assert theirs["empty_slices"]["subjects"]["A"]["drawn_share"] == 0
    assert theirs["empty_slices"]["subjects"]["B"]["drawn_area_mm2"] == 16 * 3
    assert ours["empty_slices"]["summary"]["drawn_share"]["mean"] == 0.25
    json.dumps(part, allow_nan=False)


def test_each_slice_has_a_row_of_its_own_scores():
    rows = localise()["slice_scores"]
    assert [(row["subject"], row["slice_number"]) for row in rows] == [
        *(("A", 5), ("A", 6), ("A", 8), ("B", 3))
    ]
    assert [row["b_to_a_mae"] for row in rows] == pytest.approx([0.3, 0.4, 0.2, 0.1], rel=1e-5)
    assert [row["dice"] for row in rows] == pytest.approx([1, 1, 0, 24 / 28])
    assert [row["threshold_dice"] for row in rows] == [1, 1, 1, 1]
    assert [row["true_area_pixels"] for row in rows] == [16] * 4
    assert [row["drawn_area_pixels"] for row in rows] == [16, 16, 16, 12]
    assert [row["true_area_mm2"] for row in rows] == [48] * 4
    assert rows[3]["drawn_area_mm2"] == 36
    # Seven rows and seven columns of 3 mm.
    assert rows[2]["centroid_error_mm"] == pytest.approx(7 * np.hypot(1, 3))
    assert [row["a_to_b_psnr"] is None for row in rows] == [True, True, False, False]
    assert rows[3]["a_to_b_mse"] == pytest.approx(4 / SIZE**2)
    assert rows[3]["b_to_a_psnr"] == pytest.approx(10 * np.log10(4 / 0.01), rel=1e-4)


def test_each_subject_has_a_row_of_both_drawers():
    part = localise()
    a, b = list_subjects(part)
    assert (a["subject"], a["slices"], a["empty_slices"]) == ("A", 3, 2)
    assert (a["lesions_found"], a["lesions_missed"], a["lesions_false"]) == (1, 1, 1)
    assert (a["threshold_lesions_found"], a["threshold_lesion_f1"]) == (2, 1)
    assert (a["empty_drawn_share"], a["threshold_empty_drawn_share"]) == (0.5, 0)
    assert b["dice"] == pytest.approx(24 / 28)
    assert (b["threshold_dice"], b["threshold_empty_drawn_area_mm2"]) == (1, 48)
    slices = glioma_slices("AB")
    made = translations_of(slices.mask, slices)
    row, _ = list_subjects(evaluate_split(made, slices, slices, MASK, BASELINE, seed=0))
    assert list(row) == list(a)
    assert row["empty_slices"] is row["empty_drawn_share"] is row["threshold_empty_drawn_share"]
    assert row["empty_slices"] is None


def test_without_spacings_nothing_is_in_millimetres():
    part = localise(spacing_mm=np.nan)
    for scores in (part["segmentation"], part["threshold_baseline"]):
        assert scores["lesions"]["summary"]["by_size"] is None
        assert scores["lesions"]["summary"]["found"] > 0
        assert scores["empty_slices"]["summary"]["drawn_area_mm2"]["mean"] is None
        assert scores["empty_slices"]["summary"]["drawn_share"]["mean"] is not None
    for row in part["slice_scores"]:
        assert row["true_area_mm2"] is row["drawn_area_mm2"] is row["centroid_error_mm"] is None
        assert row["true_area_pixels"] == 16
    json.dumps(part, allow_nan=False)

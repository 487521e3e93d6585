"""The paper's two networks compared, and its claims judged by numbers made for each outcome."""

import json

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from brainsynth_jax.evaluation.claims import (
    CONFIRMED,
    FOUND_DICE,
    LEAST_SUBJECTS,
    NOT_CONFIRMED,
    NOT_MEASURED,
    OTHER_SETTING,
    PAPER_RECIPE,
    PAPER_SIZE,
    TOO_SMALL,
)
from brainsynth_jax.evaluation.comparison import (
    NetworkNumbers,
    compare_networks,
    score_translations,
    tabulate,
)
from brainsynth_jax.evaluation.segmentation import METRICS
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2

SUBJECTS = [f"P{k:02d}" for k in range(12)]

(
    LONGER,
    FOUR_TIMES,
    MEMORY,
    GENERATOR_LOSS,
    DISCRIMINATOR_LOSS,
    UNET_FINDS,
    RESNET_MISSES,
    UNET_MORE_ACCURATE,
    GOOD_PICTURES,
    RESNET_BETTER_PICTURES,
) = range(10)


def segmented(dice, subjects=SUBJECTS):
    """Scores around this Dice, a little different in each subject."""
    return {
        name: dict.fromkeys(METRICS, dice + 0.01 * (k % 3 - 1)) for k, name in enumerate(subjects)
    }


def drawn(ssim, mae, subjects=SUBJECTS):
    scores = {
        name: {"mse": mae**2, "mae": mae, "ssim": ssim + 0.01 * (k % 3 - 1)}
        for k, name in enumerate(subjects)
    }
    return {"a_to_b": scores, "b_to_a": scores}


def paper_like(network, **changed):
    """A run of the paper's size in which the paper's claims hold."""
    values = {
        "resnet": (8.2, 9000.0, segmented(0.4), drawn(0.8, 0.05)),
        "unet": (2.0, 3000.0, segmented(0.85), drawn(0.6, 0.1)),
    }[network]
    seconds, memory, segmentation, translation = values
    return NetworkNumbers(
        **PAPER_SIZE,
        recipe=PAPER_RECIPE,
        phantom=False,
        parameters=1000,
        devices=["gpu"],
        seconds_per_step=seconds,
        peak_memory_mib=memory,
        table2={"train": PUBLISHED_TABLE2[network], "test": PUBLISHED_TABLE2[network]},
        segmentation=segmentation,
        supervised=segmented(0.9),
        translation=translation,
    )._replace(**changed)


def compare(resnet=None, unet=None):
    """Two paper-like runs with these fields changed."""
    numbers = {
        "resnet": paper_like("resnet", **(resnet or {})),
        "unet": paper_like("unet", **(unet or {})),
    }
    return compare_networks(numbers, segmented(0.6), seed=0)


def verdicts(**changed):
    return [claim["verdict"] for claim in compare(**changed)["claims"]]


def why(claim, **changed):
    return compare(**changed)["claims"][claim]["why"]


def both(**changed):
    return {"resnet": changed, "unet": changed}


def table2(**rows):
    return {"train": PUBLISHED_TABLE2["unet"] | rows, "test": PUBLISHED_TABLE2["unet"]}


def test_numbers_like_the_papers_confirm_what_it_measured():
    found = verdicts()
    assert found.pop(GOOD_PICTURES) == NOT_MEASURED, "the paper names no measure"
    assert set(found) == {CONFIRMED}


@pytest.mark.parametrize(
    ("claim", "changed"),
    [
        (LONGER, {"resnet": {"seconds_per_step": 2.1}}),
        (FOUR_TIMES, {"resnet": {"seconds_per_step": 5.2}}),
        (FOUR_TIMES, {"resnet": {"seconds_per_step": 9.2}}),
        (MEMORY, {"resnet": {"peak_memory_mib": 3100.0}}),
        (GENERATOR_LOSS, {"unet": {"table2": table2(Gen=1.4)}}),
        (DISCRIMINATOR_LOSS, {"unet": {"table2": table2(Dis=0.42)}}),
        (UNET_FINDS, {"unet": {"segmentation": segmented(FOUND_DICE - 0.03)}}),
        (RESNET_MISSES, {"resnet": {"segmentation": segmented(FOUND_DICE + 0.03)}}),
        (UNET_FINDS, {"unet": {"segmentation": segmented(FOUND_DICE)}}),
        (RESNET_MISSES, {"resnet": {"segmentation": segmented(FOUND_DICE)}}),
        (UNET_MORE_ACCURATE, {"resnet": {"segmentation": segmented(0.85)}}),
        (UNET_MORE_ACCURATE, {"resnet": {"segmentation": segmented(0.95)}}),
        (RESNET_BETTER_PICTURES, {"resnet": {"translation": drawn(0.5, 0.05)}}),
        (RESNET_BETTER_PICTURES, {"resnet": {"translation": drawn(0.8, 0.2)}}),
    ],
)
def test_numbers_that_speak_against_a_claim_do_not_confirm_it(claim, changed):
    assert verdicts(**changed)[claim] == NOT_CONFIRMED


@pytest.mark.parametrize(
    "smaller", [{"steps": 500}, {"train_slices": 40}, {"width": 16}, {"image_size": 128}]
)
def test_below_the_papers_size_no_claim_about_what_is_learnt_is_decided(smaller):
    for part in (both(**smaller), {"unet": smaller}):
        found = verdicts(**part)
        for claim in (*range(GENERATOR_LOSS, GOOD_PICTURES), RESNET_BETTER_PICTURES):
            assert found[claim] == TOO_SMALL
        of_cost = CONFIRMED if smaller.keys() & {"steps", "train_slices"} else TOO_SMALL
        assert found[LONGER] == found[FOUR_TIMES] == found[MEMORY] == of_cost


LEARNT = {*range(GENERATOR_LOSS, GOOD_PICTURES), RESNET_BETTER_PICTURES}
COSTS = {LONGER, FOUR_TIMES, MEMORY}


@pytest.mark.parametrize(
    ("changed", "claims", "words"),
    [
        ({"phantom": True}, LEARNT, "the data are a phantom"),
        ({"recipe": PAPER_RECIPE | {"mask_style": "tumor_in_brain"}}, LEARNT, "in mask_style."),
        (
            {"recipe": PAPER_RECIPE | {"decay_epochs": 5, "discriminator_noise": 0.1}},
            LEARNT,
            "in decay_epochs, discriminator_noise.",
        ),
        ({"recipe": PAPER_RECIPE | {"identity_weight": 5.0}}, LEARNT | COSTS, "in identity_weight"),
        ({"recipe": PAPER_RECIPE | {"average_decay": 0.99}}, LEARNT | COSTS, "in average_decay"),
        ({"devices": ["cpu"]}, COSTS, "trained without a GPU"),
    ],
)
def test_other_data_recipes_and_devices_decide_nothing_that_they_bear_on(changed, claims, words):
    found = compare(**both(**changed))["claims"]
    undecided = {k for k, claim in enumerate(found) if claim["verdict"] == OTHER_SETTING}
    assert undecided == claims
    assert all(words in found[k]["why"] for k in claims)
    assert {found[k]["verdict"] for k in (LEARNT | COSTS) - claims} <= {CONFIRMED}
    if "devices" not in changed:
        of_one = verdicts(unet=changed)
        assert {k for k, verdict in enumerate(of_one) if verdict == OTHER_SETTING} == claims


def test_what_is_too_small_is_called_so_first():
    changed = both(phantom=True, width=16)
    assert verdicts(**changed)[UNET_FINDS] == TOO_SMALL
    assert "the width is 16 of 64, the data are a phantom." in why(UNET_FINDS, **changed)


def test_what_is_missing_is_told_beside_the_number():
    text = why(UNET_FINDS, **both(steps=500, width=16))
    assert text.startswith("Dice 0.85 (0.8")
    assert "So far as the paper claims, but" in text
    assert "the width is 16 of 64" in text
    assert "the number of steps is 500 of 2,000" in text
    text = why(RESNET_MISSES, **both(steps=500, segmentation=segmented(0.9)))
    assert "So far not as the paper claims, but" in text


def test_with_too_few_subjects_nothing_over_subjects_is_decided():
    few = SUBJECTS[: LEAST_SUBJECTS - 1]
    found = verdicts(
        resnet={"segmentation": segmented(0.4, few), "translation": drawn(0.8, 0.05, few)},
        unet={"segmentation": segmented(0.85, few), "translation": drawn(0.6, 0.1, few)},
    )
    over_subjects = {UNET_FINDS, RESNET_MISSES, UNET_MORE_ACCURATE, RESNET_BETTER_PICTURES}
    assert {k for k, verdict in enumerate(found) if verdict == TOO_SMALL} == over_subjects


def test_one_subject_has_no_interval_and_decides_nothing():
    one = both(segmentation=segmented(0.9, ["P00"]), translation=drawn(0.8, 0.05, ["P00"]))
    found = verdicts(**one)
    assert found[UNET_FINDS] == found[UNET_MORE_ACCURATE] == TOO_SMALL
    assert "the number of held-out subjects is 1 of 10" in why(UNET_FINDS, **one)


def test_memory_of_narrow_networks_decides_nothing_and_steps_play_no_part_in_it():
    assert verdicts(**both(width=16))[MEMORY] == TOO_SMALL
    assert verdicts(**both(steps=10))[MEMORY] == CONFIRMED


def test_what_was_not_recorded_is_not_decided():
    found = verdicts(resnet={"peak_memory_mib": None}, unet={"seconds_per_step": None})
    assert found[MEMORY] == found[LONGER] == found[FOUR_TIMES] == NOT_MEASURED
    on_others = verdicts(resnet={"devices": ["cpu"]})
    assert on_others[MEMORY] == on_others[LONGER] == on_others[FOUR_TIMES] == NOT_MEASURED
    unpaired = verdicts(**both(segmentation=None, supervised=None, translation=None))
    for claim in (UNET_FINDS, RESNET_MISSES, UNET_MORE_ACCURATE, RESNET_BETTER_PICTURES):
        assert unpaired[claim] == NOT_MEASURED


def test_differences_are_resnet_minus_unet_subject_by_subject():
    rng = np.random.default_rng(0)
    resnet, unet, threshold = (
        {name: dict.fromkeys(METRICS, rng.random()) for name in names}
        for names in (SUBJECTS, SUBJECTS[::-1], SUBJECTS)
    )
    numbers = {
        "resnet": paper_like("resnet", segmentation=resnet, supervised=unet),
        "unet": paper_like("unet", segmentation=unet),
    }
    comparison = compare_networks(numbers, threshold, seed=0)
    by_hand = np.mean([resnet[name]["dice"] - unet[name]["dice"] for name in SUBJECTS])
    found = comparison["differences"]["segmentation"]["dice"]
    assert found["mean"] == pytest.approx(by_hand)
    assert found["subjects"] == 12
    own = comparison["networks"]["resnet"]
    assert own["over_supervised"] == found
    by_hand = np.mean([resnet[name]["dice"] - threshold[name]["dice"] for name in SUBJECTS])
    assert own["over_threshold"]["mean"] == pytest.approx(by_hand)
    assert comparison["differences"]["translation"]["b_to_a"]["ssim"]["mean"] == pytest.approx(0.2)
    assert own["translation"]["b_to_a"]["mae"]["mean"] == pytest.approx(0.05)
    json.dumps(comparison, allow_nan=False)


def test_images_are_scored_like_scikit_image_and_averaged_by_subject():
    rng = np.random.default_rng(1)
    truth = rng.uniform(-1, 1, (5, 24, 24, 1)).astype(np.float32)
    images = np.clip(truth + rng.normal(0, 0.2, truth.shape), -1, 1).astype(np.float32)
    scores = score_translations(images, truth, ["B", "A", "B", "B", "A"])
    assert list(scores) == ["A", "B"]
    for name, rows in (("A", [1, 4]), ("B", [0, 2, 3])):
        likeness = [
            structural_similarity(
                images[k, ..., 0],
                truth[k, ..., 0],
                data_range=2,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for k in rows
        ]
        assert scores[name]["ssim"] == pytest.approx(np.mean(likeness), abs=1e-5)
        assert scores[name]["mae"] == pytest.approx(np.abs(images[rows] - truth[rows]).mean())
        assert scores[name]["mse"] == pytest.approx(np.square(images[rows] - truth[rows]).mean())


def test_images_without_a_subject_each_are_refused():
    images = np.zeros((2, 24, 24, 1), np.float32)
    with pytest.raises(ValueError, match="got 1 for 2"):
        score_translations(images, images, ["A"])


def test_the_table_holds_each_number_once_with_its_interval():
    comparison = compare(unet={"peak_memory_mib": None})
    rows = {(row["measure"], row["of"]): row for row in tabulate(comparison)}
    assert len(rows) == len(tabulate(comparison))
    dice = comparison["networks"]["unet"]["supervised"]["summary"]["dice"]
    assert rows["dice", "unet, true pairs"] == {
        **{"measure": "dice", "of": "unet, true pairs", "mean": dice["mean"], "subjects": 12},
        **dict(zip(("low", "high"), dice["interval_95"], strict=True)),
    }
    assert rows["dice", "threshold"]["mean"] == pytest.approx(0.6)
    assert rows["dice", "resnet minus unet"]["mean"] == pytest.approx(-0.45)
    assert rows["ssim, b_to_a", "resnet minus unet"]["mean"] == pytest.approx(0.2)
    assert rows["mae, a_to_b", "unet"]["mean"] == pytest.approx(0.1)
    assert rows["Gen, train", "resnet"]["mean"] == PUBLISHED_TABLE2["resnet"]["Gen"]
    assert rows["seconds_per_step", "unet"]["mean"] == 2
    memory = rows["peak_memory_mib", "unet"]
    assert [memory[name] for name in ("mean", "low", "high", "subjects")] == [None] * 4
    for row in rows.values():
        assert row.keys() == memory.keys(), "one table has the same columns throughout"


def test_without_true_masks_the_table_holds_losses_and_costs():
    unpaired = both(segmentation=None, supervised=None, translation=None)
    numbers = {name: paper_like(name, **unpaired[name]) for name in unpaired}
    rows = tabulate(compare_networks(numbers, None, seed=0))
    assert len(rows) == 2 * (2 * len(PUBLISHED_TABLE2["unet"]) + 3)

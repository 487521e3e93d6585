import json

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from brainsynth_jax.evaluation.translation import (
    PUBLISHED_TABLE2,
    average_by_subject,
    mae,
    mse,
    paired_cycle,
    psnr,
    score_hidden_channel,
    score_images,
    score_translation,
    table2,
)

# The paper's printed losses, with the adversarial and cycle terms solved from its Gen rows:
# cycle = Gen_AB + Gen_BA - Gen, adv_AB = Gen_AB - cycle, adv_BA = Gen_BA - cycle.
SOLVED = {
    "resnet": {"adv_ab": 0.213, "adv_ba": 0.153, "cycle": 0.972},
    "unet": {"adv_ab": 1.023, "adv_ba": 0.981, "cycle": 0.568},
}


def rebuild(generator):
    printed = PUBLISHED_TABLE2[generator]
    return table2(
        dis_real_a=printed["Dis_realA"],
        dis_fake_a=printed["Dis_fakeA"],
        dis_real_b=printed["Dis_realB"],
        dis_fake_b=printed["Dis_fakeB"],
        **SOLVED[generator],
    )


def test_table2_rebuilds_the_papers_resnet_column():
    rebuilt, printed = rebuild("resnet"), PUBLISHED_TABLE2["resnet"]
    assert set(rebuilt) == set(printed)
    for row in printed:
        assert rebuilt[row] == pytest.approx(printed[row], abs=1.1e-3), row


def test_table2_rebuilds_the_papers_unet_column_but_for_its_odd_dis_b():
    rebuilt, printed = rebuild("unet"), PUBLISHED_TABLE2["unet"]
    for row in ("Dis_A", "Gen", "Gen_AB", "Gen_BA"):
        assert rebuilt[row] == pytest.approx(printed[row], rel=1e-3), row
    assert rebuilt["Dis_B"] == pytest.approx(2.0135e-3)
    assert printed["Dis"] == pytest.approx(printed["Dis_A"] + printed["Dis_B"])


def test_table2_by_hand():
    row = table2(1.0, 2.0, 3.0, 5.0, 0.5, 0.25, 10.0)
    assert row == {
        "Dis": 5.5,
        "Dis_A": 1.5,
        "Dis_fakeA": 2.0,
        "Dis_realA": 1.0,
        "Dis_B": 4.0,
        "Dis_fakeB": 5.0,
        "Dis_realB": 3.0,
        "Gen": 10.75,
        "Gen_AB": 10.5,
        "Gen_BA": 10.25,
    }


def test_errors_by_hand():
    image = np.array([[-1, 0, 1]], np.float32)
    target = np.array([[1, 0.5, 1]], np.float32)
    assert mse(image, target) == pytest.approx((4 + 0.25) / 3)
    assert mae(image, target) == pytest.approx(2.5 / 3)
    assert mse(image, image) == mae(image, image) == 0


def test_errors_of_many_float32_images_lose_no_precision():
    image = np.full((40, 256, 256, 1), 0.1, np.float32)
    assert mae(image, np.zeros_like(image)) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize("measure", [mse, mae, psnr])
def test_images_that_would_broadcast_are_refused(measure):
    with pytest.raises(ValueError, match=r"\(2, 3, 3, 1\).*\(2, 3, 3\)"):
        measure(np.zeros((2, 3, 3, 1)), np.zeros((2, 3, 3)))


def test_paired_cycle_is_equation_9():
    image_a, image_b = np.full((2, 3, 3, 1), 0.5), np.full((2, 3, 3, 1), -1.0)
    fake_a, fake_b = np.full((2, 3, 3, 1), 0.25), np.full((2, 3, 3, 1), 0.0)
    assert paired_cycle(image_a, image_b, fake_a, fake_b) == pytest.approx(10 * (1 + 0.25))
    assert paired_cycle(image_a, image_b, fake_a, fake_b, weight=2) == pytest.approx(2.5)


def pairs_of(count, side=16, seed=0):
    targets = np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 1))
    noise = np.random.default_rng(seed + 1).normal(size=targets.shape)
    spread = np.linspace(0.05, 0.5, count).reshape(-1, 1, 1, 1)
    images = np.clip(targets + spread * noise, -1, 1)
    return images.astype(np.float32), targets.astype(np.float32)


def flat(*values):
    return np.stack([np.full((16, 16, 1), value, np.float32) for value in values])


def test_psnr_agrees_with_scikit_image():
    images, targets = pairs_of(4)
    expected = [
        peak_signal_noise_ratio(np.float64(t), np.float64(i), data_range=2)
        for i, t in zip(images, targets, strict=True)
    ]
    np.testing.assert_allclose(psnr(images, targets), expected, rtol=1e-9)


def test_psnr_by_hand():
    # Black for white is the worst, a tenth of the range 20 dB, nothing wrong without end.
    np.testing.assert_allclose(
        psnr(flat(-1, 0.2, 0.5), flat(1, 0, 0.5)), [0, 20, np.inf], atol=1e-6
    )


def test_scores_are_averaged_by_subject_and_agree_with_scikit_image():
    images, targets = pairs_of(5)
    of_image = {"mse": [], "mae": [], "psnr": [], "ssim": []}
    for image, target in zip(np.float64(images), np.float64(targets), strict=True):
        x, y = image[..., 0], target[..., 0]
        of_image["mse"].append(mean_squared_error(x, y))
        of_image["mae"].append(np.abs(x - y).mean())
        of_image["psnr"].append(peak_signal_noise_ratio(y, x, data_range=2))
        settings = {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5}
        of_image["ssim"].append(structural_similarity(x, y, data_range=2, **settings))
    scores = score_translation(images, targets, ["B", "A", "B", "B", "A"], seed=0)
    assert scores.keys() == of_image.keys()
    for name, values in of_image.items():
        b, a = np.mean([values[k] for k in (0, 2, 3)]), np.mean([values[k] for k in (1, 4)])
        assert scores[name]["mean"] == pytest.approx((a + b) / 2, rel=1e-4), name
        # Of two subjects, each tail of the bootstrap holds a quarter: the interval is the two.
        assert scores[name]["interval_95"] == pytest.approx(sorted((a, b)), rel=1e-4), name
        assert (scores[name]["subjects"], scores[name]["undefined"]) == (2, 0)


def test_equal_images_have_no_psnr_and_the_best_of_the_rest():
    images = pairs_of(3)[0]
    scores = score_translation(images, images, ["A", "A", "B"], seed=0)
    assert scores["psnr"] == {
        "mean": None,
        "interval_95": None,
        "subjects": 0,
        "undefined": 2,
        "identical": 3,
    }
    assert scores["mse"]["mean"] == scores["mae"]["mean"] == 0
    assert scores["ssim"]["mean"] == pytest.approx(1)
    json.dumps(scores, allow_nan=False)


def test_an_equal_image_is_left_out_of_its_subjects_psnr():
    scores = score_translation(flat(0.2, 0.5, 0.02), flat(0, 0.5, 0), ["A", "A", "B"], seed=0)
    assert scores["psnr"]["mean"] == pytest.approx((20 + 40) / 2)
    assert (scores["psnr"]["undefined"], scores["psnr"]["identical"]) == (0, 1)
    assert scores["mae"]["mean"] == pytest.approx((0.1 + 0.02) / 2)


def test_one_subject_has_a_mean_and_no_interval():
    scores = score_translation(*pairs_of(2), ["A", "A"], seed=0)
    for name, summary in scores.items():
        assert summary["mean"] is not None, name
        assert summary["interval_95"] is None, name


def test_a_disturbed_cycle_is_judged_within_each_subject():
    images = flat(0, 0, 0)
    scores = score_hidden_channel(
        images,
        flat(0.1, -0.1, 0.2),
        {"rounded": flat(0.1, 0.3, 0.8), "noisy": flat(0.1, 0.1, -0.2), "unknown": None},
        ["A", "A", "B"],
        seed=0,
    )
    for name, mean in (("plain", 0.15), ("rounded", 0.5), ("noisy", 0.15)):
        assert scores["mae"][name]["mean"] == pytest.approx(mean), name
    # 2 in A and 4 in B: not 0.5 / 0.15, nor the mean of the three slices' ratios.
    assert scores["ratio"]["rounded"]["mean"] == pytest.approx(3)
    assert scores["ratio"]["rounded"]["interval_95"] == pytest.approx([2, 4])
    assert scores["ratio"]["noisy"]["mean"] == pytest.approx(1)
    assert scores["mae"]["unknown"] is scores["ratio"]["unknown"] is None
    assert "plain" not in scores["ratio"]
    json.dumps(scores, allow_nan=False)


def test_a_cycle_without_error_has_no_ratio():
    images = flat(0, 0)
    scores = score_hidden_channel(
        images, flat(0, 0.1), {"noisy": flat(0.1, 0.3)}, ["A", "B"], seed=0
    )
    assert scores["ratio"]["noisy"]["mean"] == pytest.approx(3)
    assert scores["ratio"]["noisy"]["undefined"] == 1


def score_both(images, targets, subjects):
    score_translation(images, targets, subjects, 0)


def score_disturbed(images, targets, subjects):
    score_hidden_channel(targets, targets, {"noisy": images}, subjects, 0)


@pytest.mark.parametrize("score", [score_both, score_disturbed])
@pytest.mark.parametrize(
    ("images", "subjects", "words"),
    [
        (flat(0, 0)[:, :12], ["A", "B"], r"\(2, 12, 16, 1\) and \(2, 16, 16, 1\)"),
        (flat(0), ["A", "B"], "got 1, 2 and 2"),
        (flat(0, 0), ["A"], "got 2, 2 and 1"),
        (flat(0, 1.1), ["A", "B"], "got 0 to 1.1"),
        (flat(-127, 127), ["A", "B"], "got -127 to 127"),
        (flat(0, np.nan), ["A", "B"], "got nan to nan"),
    ],
)
def test_pairs_that_cannot_be_scored_are_refused(score, images, subjects, words):
    with pytest.raises(ValueError, match=words):
        score(images, flat(0, 0), subjects)


def test_no_pair_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one, got 0, 0 and 0"):
        score_translation(flat(0)[:0], flat(0)[:0], [], 0)


def test_values_are_averaged_over_each_subjects_finite_ones():
    values = np.array([1, np.inf, 3, 5, np.inf])
    means = average_by_subject(values, ["B", "A", "B", "C", "C"])
    assert means == {"A": None, "B": 2, "C": 5}
    assert list(means) == ["A", "B", "C"]
    with pytest.raises(ValueError, match="got 1 for 5"):
        average_by_subject(values, ["A"])


def test_images_are_scored_one_by_one_and_checked():
    scores = score_images(flat(0.1, 0.5, 0.2), flat(0, 0.5, 0))
    np.testing.assert_allclose(scores["mae"], [0.1, 0, 0.2], atol=1e-6)
    np.testing.assert_allclose(scores["mse"], [0.01, 0, 0.04], atol=1e-6)
    np.testing.assert_allclose(scores["psnr"], [10 * np.log10(400), np.inf, 20], rtol=1e-6)
    assert scores["ssim"][1] == pytest.approx(1)
    assert scores["ssim"][0] < 1
    with pytest.raises(ValueError, match="got 0 to"):
        score_images(flat(0, 1.1), flat(0, 0))

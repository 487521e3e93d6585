import numpy as np
import pytest

from brainsynth_jax.evaluation.translation import (
    PUBLISHED_TABLE2,
    mae,
    mse,
    paired_cycle,
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


@pytest.mark.parametrize("measure", [mse, mae])
def test_images_that_would_broadcast_are_refused(measure):
    with pytest.raises(ValueError, match=r"\(2, 3, 3, 1\).*\(2, 3, 3\)"):
        measure(np.zeros((2, 3, 3, 1)), np.zeros((2, 3, 3)))


def test_paired_cycle_is_equation_9():
    image_a, image_b = np.full((2, 3, 3, 1), 0.5), np.full((2, 3, 3, 1), -1.0)
    fake_a, fake_b = np.full((2, 3, 3, 1), 0.25), np.full((2, 3, 3, 1), 0.0)
    assert paired_cycle(image_a, image_b, fake_a, fake_b) == pytest.approx(10 * (1 + 0.25))
    assert paired_cycle(image_a, image_b, fake_a, fake_b, weight=2) == pytest.approx(2.5)

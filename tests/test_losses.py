"""The segmentation terms; the others are tested with the models that use them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import bernoulli

from brainsynth_jax.evaluation.segmentation import dice
from brainsynth_jax.losses import binary_cross_entropy, soft_dice_loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (4, 6, 6, 1)).astype(np.float32)
TRUTH = RNG.random((4, 6, 6, 1)) < 0.3


def test_cross_entropy_is_the_mean_negative_log_likelihood_of_scipy():
    expected = -bernoulli(expit(LOGITS.astype(np.float64))).logpmf(TRUTH).mean()
    assert float(binary_cross_entropy(LOGITS, TRUTH)) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_by_hand():
    assert float(binary_cross_entropy(jnp.zeros(3), jnp.array([0, 1, 1]))) == pytest.approx(
        np.log(2)
    )
    # p = 3/4 where there is tumour, 1/4 where there is none.
    logits = jnp.log(jnp.array([3, 1 / 3]))
    assert float(binary_cross_entropy(logits, jnp.array([1, 0]))) == pytest.approx(np.log(4 / 3))


def test_cross_entropy_of_a_sure_mistake_is_its_logit_and_still_has_a_slope():
    loss, slope = jax.value_and_grad(binary_cross_entropy)(jnp.array(200.0), jnp.array(0.0))
    assert float(loss) == pytest.approx(200)
    assert float(slope) == pytest.approx(1)


def test_soft_dice_by_hand():
    # p = 1/2, 1/2, 3/4; overlap 1/2 + 3/4.
    logits, truth = jnp.log(jnp.array([1.0, 1.0, 3.0])), jnp.array([1, 0, 1])
    assert float(soft_dice_loss(logits, truth)) == pytest.approx(1 - 3.5 / 4.75)


def test_soft_dice_of_sure_pixels_is_the_dice_of_masks():
    drawn = LOGITS > 0
    expected = dice(np.repeat(drawn, 1000), np.repeat(TRUTH, 1000))  # where 1 pixel is nothing
    found = soft_dice_loss(np.repeat(np.where(drawn, 50.0, -50.0), 1000), np.repeat(TRUTH, 1000))
    assert float(found) == pytest.approx(1 - expected, abs=1e-4)


def test_soft_dice_counts_pixels_of_all_slices_together():
    joint = soft_dice_loss(LOGITS, TRUTH)
    assert float(joint) == pytest.approx(float(soft_dice_loss(LOGITS.ravel(), TRUTH.ravel())))
    singly = np.mean([soft_dice_loss(*pair) for pair in zip(LOGITS, TRUTH, strict=True)])
    assert abs(float(joint) - singly) > 1e-3


def test_nothing_to_find_and_nothing_found_costs_nothing():
    logits, truth = jnp.full((2, 4, 4, 1), -50.0), jnp.zeros((2, 4, 4, 1))
    assert float(soft_dice_loss(logits, truth)) == pytest.approx(0)
    assert float(binary_cross_entropy(logits, truth)) == pytest.approx(0)

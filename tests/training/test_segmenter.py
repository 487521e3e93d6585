from functools import partial

import jax
import numpy as np
import optax
import pytest

from brainsynth_jax import losses
from brainsynth_jax.evaluation.segmentation import dice
from brainsynth_jax.models.segmenter import Segmenter
from brainsynth_jax.training.initialisation import initialise
from brainsynth_jax.training.segmenter import (
    _ADAM,
    BATCH_SIZE,
    LEARNING_RATE,
    _augment,
    _loss,
    _update,
    predict,
    train_segmenter,
)

NETWORK = Segmenter(width=4, depth=2)
train = partial(train_segmenter, network=NETWORK, show_progress=False)


def pairs(count=24, side=32, seed=0):
    """Tumours are bright discs in a noisy head; slices without one have a bright bar instead."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    images = np.full((count, side, side, 1), -1, np.float32)
    images[:, 2:-2, 2:-2] = rng.uniform(-0.6, 0, (count, side - 4, side - 4, 1))
    masks = np.zeros((count, side, side), bool)
    for image, mask in zip(images, masks, strict=True):
        row, column = rng.integers(9, side - 9, 2)
        if rng.random() < 0.8:
            mask |= (rows - row) ** 2 + (columns - column) ** 2 <= rng.integers(3, 7) ** 2
            image[mask] = 0.6
        else:
            image[row, 4:-4] = 0.6
    return images, masks


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def test_it_learns_to_find_tumours_that_it_has_not_seen():
    params = train(*pairs(), seed=0, steps=250)
    images, masks = pairs(seed=1)
    drawn = predict(params, images, NETWORK)
    assert drawn.dtype == bool
    assert dice(drawn, masks) > 0.85
    unlearned = predict(train(*pairs(), seed=0, steps=0), images, NETWORK)
    assert dice(unlearned, masks) < 0.5


def test_same_arguments_same_weights():
    def weights(seed, augmented=True):
        return flat(train(*pairs(), seed=seed, steps=3, augmented=augmented))

    np.testing.assert_array_equal(weights(0), weights(0))
    assert (weights(0) != weights(1)).any()
    assert (weights(0) != weights(0, augmented=False)).any()


def test_a_step_is_adam_on_the_loss():
    images, masks = (x[:BATCH_SIZE] for x in pairs())
    masks = masks[..., None]
    params = initialise(NETWORK, jax.random.key(0), images)["params"]
    adam = optax.adam(0.01)

    @jax.jit
    def expected(params):
        gradients = jax.grad(partial(_loss, NETWORK))(params, images, masks)
        updates, _ = adam.update(gradients, adam.init(params))
        return optax.apply_updates(params, updates)

    found, _ = _update(NETWORK, False, params, _ADAM.init(params), images, masks, 0.01, None)
    np.testing.assert_allclose(flat(found), flat(expected(params)), atol=2e-4)


def test_the_loss_is_the_sum_of_dice_and_cross_entropy_on_logits():
    class Identity:
        def apply(self, variables, images):
            return images

    images, masks = pairs()
    masks = masks[..., None]
    expected = losses.soft_dice_loss(images, masks) + losses.binary_cross_entropy(images, masks)
    assert float(_loss(Identity(), {}, images, masks)) == pytest.approx(float(expected))


def test_more_images_do_not_mean_more_steps(monkeypatch):
    rates = []

    def no_update(network, augmented, params, moments, images, masks, rate, key):
        assert images.shape == (BATCH_SIZE, 32, 32, 1)
        assert masks.shape == (BATCH_SIZE, 32, 32, 1)
        rates.append(float(rate))
        return params, moments

    monkeypatch.setattr("brainsynth_jax.training.segmenter._update", no_update)
    train(*pairs(1), seed=0, steps=5)
    few = rates.copy()
    rates.clear()
    train(*pairs(30), seed=0, steps=5)
    assert rates == few
    assert len(few) == 5
    assert few == sorted(few, reverse=True)


def test_the_rate_falls_from_the_one_that_is_asked_for(monkeypatch):
    rates = []

    def no_update(network, augmented, params, moments, images, masks, rate, key):
        rates.append(float(rate))
        return params, moments

    monkeypatch.setattr("brainsynth_jax.training.segmenter._update", no_update)
    train(*pairs(1), seed=0, steps=4, rate=0.1)
    train(*pairs(1), seed=0, steps=4)
    np.testing.assert_allclose(rates[:4], 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4)), rtol=1e-5)
    np.testing.assert_allclose(rates[4:], np.array(rates[:4]) * LEARNING_RATE / 0.1, rtol=1e-5)


def test_the_batch_of_a_step_is_a_function_of_seed_and_step(monkeypatch):
    images, masks = pairs(50)
    images += np.linspace(0, 0.2, 50)[:, None, None, None].astype(np.float32)  # tells them apart
    batches = []

    def no_update(network, augmented, params, moments, images, masks, rate, key):
        batches.append((images, masks))
        return params, moments

    monkeypatch.setattr("brainsynth_jax.training.segmenter._update", no_update)
    train(images, masks, seed=0, steps=40)
    train(images, masks, seed=0, steps=8)
    for one, other in zip(batches[:8], batches[40:], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    drawn = np.concatenate([batch for batch, _ in batches[:40]])
    numbers = [int(np.flatnonzero((images == image).all((1, 2, 3)))[0]) for image in drawn]
    shown = np.concatenate([batch[..., 0] for _, batch in batches[:40]])
    np.testing.assert_array_equal(shown, masks[numbers])
    counts = np.bincount(numbers, minlength=50)
    assert counts.min() > 0
    assert counts.max() < 20, "6.4 each are expected"


def test_pairs_are_drawn_by_their_chances(monkeypatch):
    images, masks = pairs(30)
    images += np.linspace(0, 0.2, 30)[:, None, None, None].astype(np.float32)  # tells them apart
    drawn = []

    def no_update(network, augmented, params, moments, images, masks, rate, key):
        drawn.extend(images)
        return params, moments

    monkeypatch.setattr("brainsynth_jax.training.segmenter._update", no_update)
    chances = np.r_[np.full(10, 0.075), np.full(10, 0.025), np.zeros(10)]
    train(images, masks, seed=0, steps=100, chances=chances)
    numbers = [int(np.flatnonzero((images == image).all((1, 2, 3)))[0]) for image in drawn]
    assert max(numbers) < 20
    assert 0.7 < np.mean(np.array(numbers) < 10) < 0.8


def test_an_image_is_flipped_with_its_mask_and_brightness_is_scaled():
    images, masks = pairs(64)
    masks = masks[..., None]
    changed, moved = jax.jit(_augment)(images, masks, jax.random.key(0))
    changed, moved = np.asarray(changed), np.asarray(moved)
    flipped = (moved != masks).any((1, 2, 3))
    there = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_array_equal(moved[flipped], masks[flipped, :, ::-1])
    factors = (changed + 1).sum((1, 2, 3)) / (images + 1).sum((1, 2, 3))
    seen = masks.any((1, 2, 3))  # without a tumour a flip does not show
    expected = (there + 1) * factors[:, None, None, None] - 1
    np.testing.assert_allclose(changed[seen], expected[seen], atol=1e-5)
    assert 0.3 < flipped[seen].mean() < 0.7
    assert 0.8 <= factors.min() + 1e-6 < 0.85
    assert 1.15 < factors.max() - 1e-6 <= 1.2
    assert abs(np.corrcoef(factors, flipped)[0, 1]) < 0.4, "each has a coin of its own"


def test_predictions_do_not_depend_on_their_company():
    images, _ = pairs(11)
    params = train(*pairs(), seed=0, steps=20)
    together = predict(params, images, NETWORK)
    singly = np.concatenate([predict(params, image[None], NETWORK) for image in images])
    assert (together != singly).mean() < 1e-3  # but for pixels at even odds
    assert together.any()


def test_images_are_predicted_part_by_part_in_their_order(monkeypatch):
    seen = []

    def bright(network, params, images):
        seen.append(len(images))
        return images[..., 0] > 0

    monkeypatch.setattr("brainsynth_jax.training.segmenter._predict", bright)
    images, _ = pairs(150)
    np.testing.assert_array_equal(predict({}, images, NETWORK), images[..., 0] > 0)
    assert seen == [64, 64, 22]


def test_the_default_network_is_trained_and_used_by_default():
    params = train_segmenter(*pairs(1), seed=0, steps=0, show_progress=False)
    assert predict(params, pairs(1)[0]).shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, masks: (images[:0], masks[:0]), "At least one"),
        (lambda images, masks: (images[:1], masks), r"\(1, 32, 32, 1\) and bool \(24, 32, 32\)"),
        (lambda images, masks: (images, masks.astype(float)), "float64"),
        (lambda images, masks: (images[..., 0], masks), r"\(24, 32, 32\)"),
        (lambda images, masks: (images * np.nan, masks), "nan"),
        (lambda images, masks: ((images + 1) * 127.5, masks), "from 0 to "),
    ],
)
def test_what_are_no_pairs_in_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        train(*change(*pairs()), seed=0, steps=1)

"""Random changes: what they do, to whom, and that gradients pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.training.augmentation import AUGMENTATIONS, augment

SIDE = 32
KEYS = jax.random.split(jax.random.key(0), 64)


def blob():
    """A bright square off centre on a background of -1."""
    image = np.full((SIDE, SIDE, 1), -1.0, np.float32)
    image[8:14, 18:26] = 0.5
    return jnp.asarray(np.stack([image] * len(KEYS)))


def test_no_strength_and_no_kinds_change_nothing():
    np.testing.assert_array_equal(augment(blob(), AUGMENTATIONS, 0.0, KEYS), blob())
    np.testing.assert_array_equal(augment(blob(), (), 1.0, KEYS), blob())


def test_shifts_move_by_whole_pixels_up_to_an_eighth():
    moved = np.asarray(augment(blob(), ("shift",), 1.0, KEYS))[..., 0]
    found = set()
    for image in moved:
        rows, columns = np.nonzero(image > 0)
        dy, dx = rows.min() - 8, columns.min() - 18
        found.add((dy, dx))
        np.testing.assert_allclose(
            image, np.roll(np.asarray(blob()[0, ..., 0]), (dy, dx), (0, 1)), atol=1e-6
        )
    reach = SIDE // 8
    assert max(abs(n) for offset in found for n in offset) == reach
    assert len(found) > 25


def test_what_is_shifted_out_does_not_come_in_again():
    edge = np.full((64, SIDE, SIDE, 1), -1.0, np.float32)
    edge[:, 0] = 1.0
    moved = np.asarray(augment(jnp.asarray(edge), ("shift",), 1.0, KEYS))
    assert (moved[:, SIDE // 2 :] == -1).all()
    assert (moved.max(axis=(1, 2, 3)) < 0).any()


def test_half_of_the_images_are_flipped_left_to_right():
    flipped = np.asarray(augment(blob(), ("flip",), 1.0, KEYS))
    mirrored = (flipped == np.asarray(blob())[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (flipped == np.asarray(blob())).all(axis=(1, 2, 3))
    assert (mirrored | same).all()
    assert 20 < mirrored.sum() < 44


def test_intensity_scales_brightness_above_the_background():
    changed = np.asarray(augment(blob(), ("intensity",), 1.0, KEYS))
    assert (changed[:, 0, 0] == -1).all()
    factors = (changed[:, 10, 20, 0] + 1) / 1.5
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2


def test_cutout_blanks_a_square_of_half_the_side():
    white = jnp.ones((64, SIDE, SIDE, 1))
    cut = np.asarray(augment(white, ("cutout",), 1.0, KEYS))[..., 0] == -1
    for image in cut:
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(rows) <= SIDE // 2 + 1
        assert len(columns) <= SIDE // 2 + 1
    assert cut.any(axis=(1, 2)).all()
    whole = [image for image in cut if not image[[0, -1]].any() and not image[:, [0, -1]].any()]
    assert {int(image.sum()) for image in whole} == {(SIDE // 2 + 1) ** 2}, "where no edge cuts it"


def test_strength_is_the_share_of_images_changed():
    changed = augment(blob(), ("intensity",), 0.25, KEYS) != blob()
    assert changed.any(axis=(1, 2, 3)).mean() == pytest.approx(0.25, abs=0.12)


def test_a_change_belongs_to_the_images_own_key():
    all_changed = augment(blob(), AUGMENTATIONS, 0.7, KEYS)
    some = augment(blob()[3:5], AUGMENTATIONS, 0.7, KEYS[3:5])
    np.testing.assert_allclose(some, all_changed[3:5], atol=1e-6)


def test_gradients_pass_to_what_is_still_seen():
    weights = jax.random.normal(jax.random.key(1), (64, SIDE, SIDE, 1))

    def loss(image):
        return (weights * augment(image, AUGMENTATIONS, 1.0, KEYS)).sum()

    image, direction = blob(), jax.random.normal(jax.random.key(2), (64, SIDE, SIDE, 1))
    slope = (jax.grad(loss)(image) * direction).sum()
    # All are linear in the image, so a finite difference is exact but for rounding.
    assert float(slope) == pytest.approx(float(loss(image + direction) - loss(image)), rel=1e-3)

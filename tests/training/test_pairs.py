import jax.numpy as jnp
import numpy as np

from brainsynth_jax.data.mask_warps import warp_tumors
from brainsynth_jax.data.masks import BRAIN, CORE, OEDEMA, is_tumor, render_mask
from brainsynth_jax.training.pairs import Pairs, draw_from_masks, shrink_pairs


def tissue(count=3, side=32):
    maps = np.zeros((count, side, side), np.uint8)
    maps[:, 4:-4, 4:-4] = BRAIN
    for k, one in enumerate(maps):
        one[10 : 16 + k, 10:17] = OEDEMA
        one[12:14, 12:15] = CORE
    return maps


def draw(count, seed=0, maps=None, **more):
    maps = tissue() if maps is None else maps
    style = ("tumor_in_brain", "classes")
    return draw_from_masks(lambda factor, b: factor * b, -0.5, maps, *style, count, seed, **more)


def test_a_slice_is_drawn_from_the_picture_of_its_own_mask():
    pairs = draw(10)
    assert pairs.images.shape == (10, 32, 32, 1)
    changed = warp_tumors(tissue()[pairs.sources], 0)
    np.testing.assert_array_equal(pairs.tissue, changed)
    pictures = render_mask(changed, "tumor_in_brain", "classes")[..., None]
    np.testing.assert_allclose(pairs.images, -0.5 * pictures, atol=1e-6)


def test_every_mask_serves_as_often_and_is_changed_anew():
    pairs = draw(9)
    assert np.bincount(pairs.sources).tolist() == [3, 3, 3]
    masks = is_tumor(pairs.tissue)
    assert masks.any(axis=(1, 2)).all()
    assert len({mask.tobytes() for mask in masks}) == 9


def test_the_first_pairs_are_the_same_for_any_count():
    few, many = draw(5), draw(12)
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, other[:5])
    assert (draw(5, seed=1).tissue != few.tissue).any()


def test_pairs_from_any_number_on_are_those_of_the_whole():
    part, whole = draw(7, first=6), draw(13)
    for one, other in zip(part, whole, strict=True):
        np.testing.assert_array_equal(one, other[6:])


def test_progress_is_told_pair_by_pair():
    told = []
    draw(11, advance=told.append)
    assert sum(told) == 11


def test_shrinking_averages_images_and_takes_the_majority_of_a_mask():
    images = np.linspace(-1, 1, 2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1)
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, :2] = True  # half of the first new pixel
    masks[1, 3, 3] = True  # a quarter of the last
    small = shrink_pairs(Pairs(images, masks), 2)
    expected = images.reshape(2, 2, 2, 2, 2, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(small.images, expected, atol=1e-6)
    np.testing.assert_array_equal(small.masks[0], [[True, False], [False, False]])
    assert not small.masks[1].any()


def test_pairs_that_are_small_stay_as_they_are():
    drawn = draw(2)
    pairs = Pairs(drawn.images, is_tumor(drawn.tissue))
    assert shrink_pairs(pairs, 64) is pairs
    assert (
        np.abs(shrink_pairs(Pairs(jnp.ones((1, 3, 3, 1)), pairs.masks[:1, :3, :3]), 2).images).max()
        <= 1
    )

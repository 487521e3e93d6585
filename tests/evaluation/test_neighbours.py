import numpy as np
import pytest
from near_images import block_means, draw_images, moved
from scipy.spatial.distance import cdist

from brainsynth_jax.evaluation import neighbours
from brainsynth_jax.evaluation.neighbours import (
    MOVES,
    Move,
    align,
    coarsen,
    nearest_distances,
    nearest_features,
)


def test_nearest_agrees_with_a_search_by_the_definition():
    ours, references = draw_images(12), draw_images(5, seed=1)
    expected = {}
    for move in MOVES:
        turned = references[:, :, ::-1] if move.mirrored else references
        enlarged = turned.repeat(2, axis=1).repeat(2, axis=2)
        laid = block_means(moved(enlarged, move.down, move.right), 32).reshape(5, -1)
        expected[move] = cdist(block_means(ours, 32).reshape(12, -1), laid) / 32
    table = np.stack(list(expected.values()))
    distances, indices, moves = nearest_distances(ours, references)
    np.testing.assert_allclose(distances, table.min(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_array_equal(indices, table.min(axis=0).argmin(axis=1))
    np.testing.assert_array_equal(moves, table.min(axis=2).argmin(axis=0))
    assert len(set(moves)) > 5


def test_moves_reach_a_32nd_of_the_side_mirrored_or_not():
    steps = range(-4, 5)
    assert set(MOVES) == {Move(m, d, r) for m in (False, True) for d in steps for r in steps}
    assert MOVES[0] == Move(mirrored=False, down=0, right=0)


@pytest.mark.parametrize("side", [48, 256])
def test_images_of_any_size_are_averaged(side):
    ours = draw_images(3, side)
    fine = ours.repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_allclose(coarsen(ours)[..., 0], block_means(fine, 64), atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("down", "right"), [(0, 0), (8, -8), (-4, 4), (8, 0)])
def test_an_exact_copy_is_at_zero_however_it_lies(mirrored, down, right):
    references = np.round(draw_images(20, side=256) * 127.5) / np.float32(127.5)
    chosen = [3, 17, 8]
    made = moved(references[chosen][:, :, ::-1] if mirrored else references[chosen], down, right)
    distances, indices, moves = nearest_distances(made, references)
    np.testing.assert_array_equal(distances, 0)
    np.testing.assert_array_equal(indices, chosen)
    assert {MOVES[move] for move in moves} == {Move(mirrored, down // 2, right // 2)}
    np.testing.assert_array_equal(align(references[chosen], MOVES[moves[0]]), made)


def test_distance_is_in_units_of_the_image():
    black, square = np.full((2, 2, 64, 64, 1), -1, np.float32)
    square[:, 16:48, 16:48] = 1
    np.testing.assert_allclose(nearest_distances(square, black).distances, 2 * 0.5)


def test_of_equally_good_references_and_moves_the_first_is_taken():
    black = np.full((3, 64, 64, 1), -1, np.float32)
    nearest = nearest_distances(draw_images(2), black)
    np.testing.assert_array_equal(nearest.moves, 0)
    np.testing.assert_array_equal(nearest.indices, 0)


def test_nearest_features_agree_with_scipy():
    rng = np.random.default_rng(0)
    ours, references = rng.normal(size=(30, 7)), rng.normal(size=(50, 7))
    ours[:3] = references[[4, 40, 9]]
    expected = cdist(ours, references)
    distances, indices, _ = nearest_features(ours, references)
    np.testing.assert_allclose(distances, expected.min(axis=1) / np.sqrt(7), rtol=1e-12)
    np.testing.assert_array_equal(indices, expected.argmin(axis=1))
    np.testing.assert_array_equal(distances[:3], 0)


def test_it_does_not_matter_how_many_are_compared_at_a_time(monkeypatch):
    ours, references = draw_images(10), draw_images(7, seed=1)
    features = np.random.default_rng(0).normal(size=(10, 3))
    at_once = nearest_distances(ours, references), nearest_features(features[:3], features[3:])
    monkeypatch.setattr(neighbours, "_REFERENCES_A_CALL", 3)
    monkeypatch.setattr(neighbours, "_IMAGES_A_CALL", 3)
    in_parts = nearest_distances(ours, references), nearest_features(features[:3], features[3:])
    for whole, parts in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(whole.distances, parts.distances, rtol=1e-6)
        np.testing.assert_array_equal(whole.indices, parts.indices)
        np.testing.assert_array_equal(whole.moves, parts.moves)


@pytest.mark.parametrize(
    ("ours", "references", "words"),
    [
        (draw_images(2), draw_images(2)[:0], "Images of one size"),
        (draw_images(2)[:0], draw_images(2), "Images of one size"),
        (draw_images(2), draw_images(2, side=128), "Images of one size"),
        (draw_images(2), draw_images(2) * np.float32(np.nan), "Finite images"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(ours, references, words):
    with pytest.raises(ValueError, match=words):
        nearest_distances(ours, references)


@pytest.mark.parametrize(
    ("ours", "references"),
    [
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.ones((0, 3)), np.ones((2, 3))),
        (np.ones(3), np.ones(3)),
        (np.full((2, 3), np.inf), np.ones((2, 3))),
    ],
)
def test_features_that_cannot_be_compared_are_refused(ours, references):
    with pytest.raises(ValueError, match="Finite feature vectors of one length"):
        nearest_features(ours, references)

import itertools

import numpy as np
import pytest

from brainsynth_jax.data.masks import (
    MASK_CLASSES,
    MASK_STYLES,
    decode_tumor,
    default_threshold,
    is_brain,
    is_tumor,
    render_mask,
)

TISSUE = np.arange(6, dtype=np.uint8).reshape(2, 3)
ALL = list(itertools.product(MASK_STYLES, MASK_CLASSES))


@pytest.mark.parametrize(
    ("style", "classes", "levels"),
    [
        ("tumor", "whole", [-1, -1, 1, 1, 1, 1]),
        ("tumor", "classes", [-1, -1, -1 / 3, 1 / 3, 1, 1]),
        ("tumor_in_brain", "whole", [-1, 0, 1, 1, 1, 1]),
        ("tumor_in_brain", "classes", [-1, 0, 1 / 3, 2 / 3, 1, 1]),
    ],
)
def test_levels(style, classes, levels):
    mask = render_mask(TISSUE, style, classes)
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask, np.reshape(levels, (2, 3)), atol=1e-7)


@pytest.mark.parametrize(("style", "classes"), ALL)
def test_decoding_undoes_rendering(style, classes):
    mask = render_mask(TISSUE, style, classes)
    np.testing.assert_array_equal(decode_tumor(mask, style, classes), is_tumor(TISSUE))


@pytest.mark.parametrize(
    ("style", "classes", "threshold"),
    [
        ("tumor", "whole", 0),
        ("tumor", "classes", -2 / 3),
        ("tumor_in_brain", "whole", 0.5),
        ("tumor_in_brain", "classes", 1 / 6),
    ],
)
def test_the_default_threshold_is_midway(style, classes, threshold):
    assert default_threshold(style, classes) == pytest.approx(threshold)


def test_another_threshold_wins():
    image = np.float32([0.1, 0.3])
    assert decode_tumor(image, "tumor_in_brain", "whole", 0.2).tolist() == [False, True]


def test_brain_holds_the_tumour():
    assert is_brain(TISSUE).ravel().tolist() == [False, True, True, True, True, True]
    assert is_tumor(TISSUE).ravel().tolist() == [False, False, True, True, True, True]


def test_an_unknown_style_is_no_style():
    with pytest.raises(KeyError):
        render_mask(TISSUE, "tumour", "whole")

"""Tumour label codes, and masks drawn as pictures and read back.

The `tissue` map of a slice holds one code a pixel: 0 outside the brain, 1 brain without tumour,
2 and above tumour. Pure functions of numpy arrays of any shape.
"""

import numpy as np

NONE = 0  # in `labels`: no tumour; in `tissue`: outside the brain
BRAIN = 1  # only in `tissue`
OEDEMA = 2
CORE = 3  # necrotic and non-enhancing tumour core
ENHANCING = 4
TUMOR = 5  # class unknown: the mask only tells tumour from no tumour

MASK_STYLES = ("tumor", "tumor_in_brain")
MASK_CLASSES = ("whole", "classes")

# Grey level in [-1, 1] of each tissue code 0..5. The paper draws the bare tumour; the style with
# the brain in mid grey keeps mask -> slice well posed.
_LEVELS = {
    ("tumor", "whole"): np.float32([-1, -1, 1, 1, 1, 1]),
    ("tumor", "classes"): np.float32([-1, -1, -1 / 3, 1 / 3, 1, 1]),
    ("tumor_in_brain", "whole"): np.float32([-1, 0, 1, 1, 1, 1]),
    ("tumor_in_brain", "classes"): np.float32([-1, 0, 1 / 3, 2 / 3, 1, 1]),
}


def is_brain(tissue: np.ndarray) -> np.ndarray:
    """True where `tissue` is brain, tumour included; bool of the same shape."""
    return tissue >= BRAIN


def is_tumor(tissue: np.ndarray) -> np.ndarray:
    """True where `tissue` (or `labels`) is tumour of any class; bool of the same shape."""
    return tissue >= OEDEMA


def render_mask(tissue: np.ndarray, style: str, classes: str) -> np.ndarray:
    """Draws a tissue map as a mask picture.

    Args:
      tissue: integer codes 0..5, any shape.
      style: one of MASK_STYLES.
      classes: one of MASK_CLASSES: the whole tumour in one level, or oedema < core < enhancing
        in evenly spaced levels. Tumour of unknown class is as bright as enhancing tumour.

    Returns:
      float32 in [-1, 1], the shape of `tissue`.
    """
    return _LEVELS[style, classes][tissue]


def mask_levels(style: str, classes: str) -> np.ndarray:
    """The grey levels that a drawn mask holds, float32, ascending."""
    return np.unique(_LEVELS[style, classes])


def default_threshold(style: str, classes: str) -> float:
    """The grey level midway between the brightest non-tumour and the darkest tumour."""
    levels = _LEVELS[style, classes]
    return float(levels[:OEDEMA].max() + levels[OEDEMA:].min()) / 2


def decode_tumor(
    image: np.ndarray, style: str, classes: str, threshold: float | None = None
) -> np.ndarray:
    """Reads the whole-tumour mask out of a mask picture, drawn or generated.

    Args:
      image: float in [-1, 1], any shape.
      style: one of MASK_STYLES.
      classes: one of MASK_CLASSES.
      threshold: grey level above which a pixel is tumour; None for `default_threshold`.

    Returns:
      bool of the same shape.
    """
    return image > (default_threshold(style, classes) if threshold is None else threshold)

"""The grid that an up-sampling network leaves in its images, found in their spectrum."""

import numpy as np
from scipy import fft

# Three doublings leave patterns of 2, 4 and 8 pixels: all frequencies k / 8 along either axis.
LONGEST_PERIOD = 8
SMALLEST_SIDE = 32

# What rounding to the 256 grey levels of a picture adds to every frequency: an error spread evenly
# over a step of 2 / 255 has this variance.
_ROUNDING_POWER = (2 / 255) ** 2 / 12

_IMAGES_A_CALL = 64


def grid_energy(images: np.ndarray) -> float | None:
    """How far the images' spectrum departs from its surroundings at the up-sampling grid.

    Transposed convolutions of stride 2 draw patterns that repeat every 2, 4 or 8 pixels (Odena et
    al., 2016, "Deconvolution and Checkerboard Artifacts"), seen as peaks in the mean spectrum
    (Zhang et al., 2019, arXiv 1907.06515). Pixels that were merely repeated leave gaps at the same
    places, since a block's own spectrum is 0 there; both count.

    The plane of frequencies is cut into 8 x 8 square cells with a frequency (k / 8, l / 8) in the
    centre of each. A cell's ratio is the geometric mean power of its 3 x 3 central frequencies over
    that of its others, or the inverse where that is below 1. The result is the mean ratio of all
    cells but the one around zero.

    1 means no grid. Anatomy alone hardly moves it: the logarithm of a spectrum that falls as any
    power of frequency is harmonic in the plane, so its mean around a point is its value there.
    Real slices are still a little above 1, and a few images more than many, so reports show
    grid_energy(samples) / grid_energy(real).

    A Hann window keeps the picture's borders, where they do not meet, out of the spectrum. The
    power of rounding to 8 bits is added everywhere: a pattern no picture can show is no grid.

    Args:
        images: (N, S, S, 1) in [-1, 1].

    Returns:
        A ratio of powers, 1 or more; None where S is no multiple of 8, or below 32: the grid's
        frequencies then lie between those of the spectrum, or too close to each other.

    Raises:
        ValueError: no image.
    """
    count, side = images.shape[:2]
    if count == 0:
        raise ValueError(f"At least one image is needed, got {images.shape}.")
    if side % LONGEST_PERIOD or side < SMALLEST_SIDE:
        return None
    cells = _cells(np.log(mean_spectrum(images) + _ROUNDING_POWER))
    centre = cells.shape[-1] // 2
    central = np.zeros(cells.shape[1:], bool)
    central[centre - 1 : centre + 2, centre - 1 : centre + 2] = True
    departure = cells[:, central].mean(axis=1) - cells[:, ~central].mean(axis=1)
    return float(np.exp(np.abs(departure[1:])).mean())


def mean_spectrum(images: np.ndarray) -> np.ndarray:
    """Power by frequency, averaged over images.

    Args:
        images: (N, S, S, 1).

    Returns:
        (S, S) float64, frequency 0 first as in `numpy.fft`. Scaled such that white noise of
        variance v has power v at every frequency.
    """
    count, side = images.shape[:2]
    window = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    window = np.float32(np.outer(window, window) / np.mean(window**2))
    total = np.zeros((side, side))
    for start in range(0, count, _IMAGES_A_CALL):
        part = np.asarray(images[start : start + _IMAGES_A_CALL, ..., 0], np.float32)
        total += np.square(np.abs(fft.fft2(part * window, norm="ortho"))).sum(axis=0)
    return total / count


def _cells(spectrum: np.ndarray) -> np.ndarray:
    """(S, S) -> (64, S / 8 + 1, S / 8 + 1): the cell around each grid frequency, 0 first.

    Neighbours share their borders, which keeps each symmetric about its centre.
    """
    side = len(spectrum)
    step = side // LONGEST_PERIOD
    reach = np.arange(-(step // 2), step // 2 + 1)
    places = (np.arange(0, side, step)[:, None] + reach) % side
    cells = spectrum[places[:, None, :, None], places[None, :, None, :]]
    return cells.reshape(-1, len(reach), len(reach))

"""How many slices a reader has to see, half of them real, for an answer that is worth having."""

import math

import numpy as np
from scipy.stats import binom, norm

from brainsynth_jax.errors import UserError

# Nearer to guessing than this, it would take more slices than anybody reads: some 20,000.
_LEAST_SKILL = 0.01


def slices_for_interval(accuracy: float, half_width: float, level: float = 0.95) -> int:
    """The fewest slices for which Wilson's interval reaches no farther than that to either side.

    Half the length of the interval of Wilson (1927, Journal of the American Statistical Association
    22) is z / (n + z^2) sqrt(n p (1 - p) + z^2 / 4), here solved for n and rounded up to an even
    number.

    Args:
        accuracy: that is expected, 0 to 1; 0.5 needs the most slices.
        half_width: half the length of the interval, more than 0 and less than 0.5.
        level: of the interval.

    Raises:
        UserError: one of them is out of range.
    """
    if not 0 <= accuracy <= 1:
        raise UserError(f"An accuracy lies between 0 and 1, not at {accuracy}; 0.5 is guessing.")
    if not 0 < half_width < 0.5:
        raise UserError(
            f"An interval of +- {half_width} is none of an accuracy; more than 0 and less than 0.5 "
            "is allowed, 0.1 say."
        )
    z_squared = norm.ppf((1 + level) / 2) ** 2
    spread = 4 * accuracy * (1 - accuracy)
    root = math.sqrt(spread**2 + 16 * half_width**2 * (1 - spread))
    return _even(z_squared * (spread + root) / (8 * half_width**2) - z_squared)


def slices_for_power(accuracy: float, power: float = 0.8, level: float = 0.05) -> int:
    """The number of slices from which on a test against guessing finds a reader's skill so often.

    The power of an exact test goes up and down with the number of slices (Chernick and Liu 2002,
    The American Statistician 56), so a smaller number may have it by luck; from this one on, every
    even number has.

    Args:
        accuracy: the reader's true one, 0 to 1; below 0.5 by mistaking one for the other.
        power: the probability to find it, more than 0 and less than 1.
        level: of the two-sided test.

    Raises:
        UserError: one of them is out of range, or so near to guessing that nobody reads as many.
    """
    if not 0 <= accuracy <= 1 or abs(accuracy - 0.5) < _LEAST_SKILL:
        raise UserError(
            f"Whether an accuracy of {accuracy} is guessing is not to be found: give one between 0 "
            f"and 1 that is {_LEAST_SKILL} or more away from 0.5, 0.65 say."
        )
    if not 0 < power < 1:
        raise UserError(f"A power lies between 0 and 1, not at {power}; 0.8 is usual.")
    # As many as by the normal distribution, and as many again.
    deviation = norm.ppf(1 - level / 2) / 2
    deviation += abs(norm.ppf(power)) * math.sqrt(accuracy * (1 - accuracy))
    counts = np.arange(2, 2 * _even((deviation / (accuracy - 0.5)) ** 2) + 100, 2)
    lacking = np.flatnonzero(guessing_test_power(counts, accuracy, level) < power)
    return int(counts[lacking[-1] + 1]) if lacking.size else int(counts[0])


def guessing_test_power(
    count: int | np.ndarray, accuracy: float, level: float = 0.05
) -> np.ndarray:
    """How often the exact, two-sided binomial test finds that a reader does not guess.

    Args:
        count: of answers, one number or an array of them.
        accuracy: the reader's true one, 0 to 1.
        level: of the test.

    Returns:
        Probabilities in the shape of `count`.
    """
    # At most so many right answers, or as many wrong ones, are too rare in guessing.
    rare = binom.ppf(level / 2, count, 0.5)
    rare = np.where(binom.cdf(rare, count, 0.5) > level / 2, rare - 1, rare)
    return binom.cdf(rare, count, accuracy) + binom.sf(count - rare - 1, count, accuracy)


def _even(number: float) -> int:
    """Rounded up; at least 2. A rounding error above an even number is none."""
    return max(2, 2 * math.ceil(number / 2 - 1e-9))

"""Many images through a compiled function, a few at a time."""

from collections.abc import Callable

import jax
import numpy as np


def in_chunks(
    function: Callable[..., jax.Array], size: int, *arrays: np.ndarray | jax.Array
) -> np.ndarray:
    """`function(*arrays)` by parts of `size` rows, so that memory is bounded.

    The last part is filled up by repeating its last row: however many rows there are, a compiled
    function sees one shape and is compiled once.

    Args:
        function: treats each row by itself; (size, ...) arrays -> (size, ...).
        size: rows a call.
        arrays: (N, ...) each, N at least 1.

    Returns:
        (N, ...).
    """
    count = len(arrays[0])
    parts = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        parts.append(np.asarray(function(*(array[rows] for array in arrays))))
    return np.concatenate(parts)[:count]

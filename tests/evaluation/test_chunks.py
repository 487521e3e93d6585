import jax
import numpy as np
import pytest

from brainsynth_jax.evaluation.chunks import in_chunks


@pytest.mark.parametrize("count", [1, 4, 6, 9])
def test_parts_make_the_whole_and_are_compiled_once(count):
    traced = []

    @jax.jit
    def add(x, y):
        traced.append(x.shape)
        return x + y

    x, y = np.random.default_rng(0).normal(size=(2, count, 3)).astype(np.float32)
    np.testing.assert_array_equal(in_chunks(add, 4, x, y), x + y)
    assert traced == [(4, 3)]

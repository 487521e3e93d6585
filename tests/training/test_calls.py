from itertools import chain

import pytest

from brainsynth_jax.training.calls import aligned_calls, cut_at_multiples


@pytest.mark.parametrize(
    ("first", "count", "length"), [(0, 5, 8), (3, 20, 8), (16, 16, 8), (7, 1, 4)]
)
def test_calls_begin_at_multiples_and_give_what_is_wanted(first, count, length):
    calls = list(aligned_calls(first, count, length))
    assert all(start % length == 0 for start, _ in calls)
    given = [range(start, start + length)[wanted] for start, wanted in calls]
    assert list(chain(*given)) == list(range(first, first + count))
    assert len(calls) == len({n // length for n in range(first, first + count)}), "none is wasted"


def test_stretches_end_at_multiples():
    assert list(cut_at_multiples(3, 20, 8)) == [(3, 8), (8, 16), (16, 20)]
    assert list(cut_at_multiples(5, 5, 8)) == []

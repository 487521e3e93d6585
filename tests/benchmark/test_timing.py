"""A record of the project's step and of its peers'."""

from statistics import median

import pytest
import slow_steps

from brainsynth_jax.benchmark.timing import spread, take_turns, time_workload
from brainsynth_jax.benchmark.workload import Workload

TINY = Workload("dcgan-sampling", image_size=64, width=2)


def test_the_fastest_peer_counts_and_one_that_fails_is_left_out(capsys):
    record = time_workload(TINY, 3, ("slow", "fast", "broken"), slow_steps.prepare_peer)
    assert record["torch_form"] == "fast"
    assert record["torch_version"] == "1.0"
    assert 0.1 <= record["torch_seconds_median"] < 0.3
    ratios = [a / b for a, b in zip(record["seconds"], record["torch_seconds"], strict=True)]
    assert record["ratio"] == median(ratios)
    out = capsys.readouterr().out
    assert "PyTorch, broken, is left out: ValueError: out of luck." in out


def test_each_round_has_a_step_of_each():
    steps = []

    class Contender:
        def __init__(self, name):
            self.name = name

        def step(self):
            steps.append(self.name)
            return len(steps)

    seconds = take_turns({name: Contender(name) for name in "abc"}, 4)
    assert all(len(times) == 4 for times in seconds.values())
    for first in range(0, len(steps), 6):
        turn = steps[first : first + 6]
        assert sorted(turn[::2]) == ["a", "b", "c"]
        assert turn[::2] == turn[1::2]  # one that wakes the caches, one that counts
    assert seconds["a"] == [number + 1 for number in range(1, 24, 2) if steps[number] == "a"]


@pytest.mark.parametrize(("seconds", "width"), [([1.0, 2.0, 3.0, 4.0, 9.0], 2.0), ([1.0], 0.0)])
def test_the_spread_is_the_width_of_the_middle_half(seconds, width):
    assert spread(seconds) == width

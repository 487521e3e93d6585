"""Processes that take turns."""

import os
import time
from pathlib import Path

import pytest
import slow_steps

from brainsynth_jax.benchmark.contender import Contender, Failed


def assert_halts(process):
    """The system's letter of the process becomes T."""
    for _ in range(100):
        if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
            return
        time.sleep(0.02)
    pytest.fail(f"process {process} goes on")


def test_a_step_is_timed_in_a_process_of_its_own_that_is_halted_between():
    contender = Contender(slow_steps.prepare, 0.2)
    process = contender.facts["process"]
    assert process != os.getpid()
    assert_halts(process)
    assert 0.2 <= contender.step() < 1.0
    assert_halts(process)
    contender.close()
    assert not Path(f"/proc/{process}").exists()


def test_the_peak_of_memory_is_that_since_it_was_forgotten():
    contender = Contender(slow_steps.prepare_greedy, 200)
    contender.step()
    high = contender.peak_memory_mib()
    contender.forget_peak()
    assert contender.peak_memory_mib() < high - 100
    contender.step()
    assert contender.peak_memory_mib() == pytest.approx(high, rel=0.1)
    contender.close()


@pytest.mark.parametrize(
    ("build", "message"),
    [(slow_steps.fail_at_once, "ValueError: no such form"), (slow_steps.die, "status 3")],
)
def test_what_cannot_be_built_says_why(build, message):
    with pytest.raises(Failed, match=message):
        Contender(build)


def test_a_step_that_fails_says_why():
    with (
        Contender(slow_steps.fail_in_step) as contender,
        pytest.raises(Failed, match="ValueError: out of luck"),
    ):
        contender.step()


def test_its_process_ends_with_the_context_whatever_happened():
    with pytest.raises(KeyboardInterrupt), Contender(slow_steps.prepare, 0.1) as contender:
        raise KeyboardInterrupt
    assert not Path(f"/proc/{contender.facts['process']}").exists()


def test_where_memory_runs_out_it_says_so():
    with (
        Contender(slow_steps.prepare_victim) as contender,
        pytest.raises(Failed, match="memory runs out"),
    ):
        contender.step()

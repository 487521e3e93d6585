"""Processes that take turns."""

import os
import subprocess
import sys
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
    with Contender(slow_steps.prepare, 0.2) as contender:
        process = contender.facts["process"]
        assert process != os.getpid()
        assert_halts(process)
        assert 0.2 <= contender.step() < 1.0
        assert_halts(process)
    assert not Path(f"/proc/{process}").exists()


def test_the_peak_of_memory_is_that_since_it_was_forgotten():
    with Contender(slow_steps.prepare_greedy, 200) as contender:
        contender.step()
        high = contender.peak_memory_mib()
        contender.forget_peak()
        assert contender.peak_memory_mib() < high - 100
        contender.step()
        assert contender.peak_memory_mib() == pytest.approx(high, rel=0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [(slow_steps.fail_at_once, "ValueError: no such form"), (slow_steps.die, "status 3")],
)
def test_what_cannot_be_built_says_why(build, message):
    with pytest.raises(Failed, match=message):
        Contender(build)


def test_a_process_that_ends_before_it_is_told_what_to_build_says_so(monkeypatch):
    monkeypatch.setattr("brainsynth_jax.benchmark.contender._PROGRAM", "raise SystemExit(5)")
    with pytest.raises(Failed, match="status 5"):
        Contender(slow_steps.prepare_greedy, bytes(10_000_000))


def test_it_imports_what_this_process_does_and_not_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "brainsynth_jax").mkdir()
    (tmp_path / "brainsynth_jax/__init__.py").write_text("raise ValueError('another checkout')")
    monkeypatch.chdir(tmp_path)
    with Contender(slow_steps.prepare, 0.0) as contender:
        assert contender.step() < 1.0


def test_its_process_ends_with_the_one_that_started_it():
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    program = """
import slow_steps, time
from brainsynth_jax.benchmark.contender import Contender
print(Contender(slow_steps.prepare, 0.0).facts["process"], flush=True)
time.sleep(60)
"""
    path = os.pathsep.join(path or "." for path in sys.path)
    starter = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    process = int(starter.stdout.readline())
    assert_halts(process)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    for _ in range(100):
        stat = Path(f"/proc/{process}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {process} is still there")


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

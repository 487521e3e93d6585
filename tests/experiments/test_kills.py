"""Scripts killed (SIGKILL) at random moments, and started again until they are done.

`pytest -m long tests/experiments/test_kills.py` kills each fifty times and more.
"""

import json
import random
import shutil
import time

import pytest
from conftest import TINY, TINY_DCGAN, wait
from run_checks import assert_same_run, checkpoint_steps, load_state, read_records

# Kills of the short form and of the long one.
COUNTS = pytest.mark.parametrize(
    "kills", [2, pytest.param(50, marks=pytest.mark.long)], ids=["short", "long"]
)


def kill_until_done(start, kills, seconds, check=lambda: None):
    """Starts a process again and again, and kills it so many times; the last one ends by itself.

    Args:
        start: gives a started process.
        kills: how many.
        seconds: that an undisturbed process takes; kills come in the first 0.7 of it, for the next
            one may be faster.
        check: called after each kill.

    Returns:
        What the last one printed, and how many were killed before they were done.
    """
    rng = random.Random(kills)
    killed = 0
    for _ in range(kills):
        process = start()
        time.sleep(rng.uniform(0, 0.7 * seconds))
        if process.poll() is None:
            killed += 1
            process.kill()
        process.communicate()
        check()
    finished = wait(start())
    assert finished.status == 0, finished.out + finished.error
    return finished, killed


def timed(process):
    started = time.monotonic()
    finished = wait(process)
    assert finished.status == 0, finished.out + finished.error
    return time.monotonic() - started


@COUNTS
@pytest.mark.parametrize("script", ["cyclegan", "dcgan"])
def test_a_run_killed_at_any_moment_ends_like_one_that_was_not(
    start, phantom_dir, tmp_path, script, kills
):
    epochs = 6 if kills < 10 else 60
    flags = {
        "cyclegan": (*TINY, "--skip_evaluation"),
        "dcgan": TINY_DCGAN,
    }[script]

    def start_in(name):
        where = (f"--data_dir={phantom_dir}", f"--workdir={tmp_path / name}")
        return start(script, *where, *flags, f"--epochs={epochs}")

    timed(start_in("whole"))
    seconds = timed(start_in("warm"))  # its steps taken from the cache
    restorable = []

    def every_checkpoint_is_whole():
        folder = tmp_path / "killed" / "checkpoints"
        steps = checkpoint_steps(tmp_path / "killed") if folder.exists() else []
        if steps:
            load_state(tmp_path / "killed", steps[-1])
            restorable.append(steps[-1])

    _, killed = kill_until_done(
        lambda: start_in("killed"), kills, seconds, every_checkpoint_is_whole
    )
    assert killed
    assert restorable == sorted(restorable), "no run went back"
    last = checkpoint_steps(tmp_path / "whole")[-1]
    assert checkpoint_steps(tmp_path / "killed")[-1] == last
    assert_same_run(tmp_path / "whole", tmp_path / "killed", last)


@COUNTS
def test_preparation_killed_at_any_moment_ends_like_one_that_was_not(
    start, phantom_dir, tmp_path, kills
):
    def start_in(name):
        return start("check_data", f"--data_dir={phantom_dir}", cache=tmp_path / name)

    seconds = timed(start_in("whole"))
    kill_until_done(lambda: start_in("killed"), kills, seconds)
    whole, killed = (
        {
            path.relative_to(tmp_path / name).as_posix(): path.read_text()
            for path in (tmp_path / name / "slices").rglob("*.json")
        }
        for name in ("whole", "killed")
    )
    assert any(name.endswith("contents.json") for name in whole), "which holds a digest of all"
    assert whole == killed


@COUNTS
def test_an_evaluation_killed_at_any_moment_leaves_whole_files(
    start, finished_run, tmp_path, kills
):
    folder, _ = finished_run
    workdir = tmp_path / "run"
    shutil.copytree(folder, workdir)
    before = json.loads((workdir / "evaluation.json").read_text())
    records = read_records(workdir)

    def start_it():
        return start("evaluate", f"--workdir={workdir}")

    def every_file_is_whole():
        assert json.loads((workdir / "evaluation.json").read_text())["schema"]
        assert "</html>" in (workdir / "report.html").read_text()
        assert read_records(workdir) == records

    seconds = timed(start_it())
    kill_until_done(start_it, kills, seconds, every_file_is_whole)
    after = json.loads((workdir / "evaluation.json").read_text())
    assert after == before
    assert not list(workdir.rglob("*.partial"))

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


def kill_again_and_again(start, kills, wait_for_its_end, check):
    """Starts a process so many times, and kills it; then lets it end.

    Args:
        start: gives a started process.
        kills: how many.
        wait_for_its_end: of a process and a random generator, returns when it is to be killed.
        check: called after each.

    Returns:
        How many were killed before they were done.
    """
    rng = random.Random(0)
    killed = 0
    for _ in range(kills):
        process = start()
        wait_for_its_end(process, rng)
        if process.poll() is None:
            killed += 1
            process.kill()
        process.communicate()
        check()
    finished = wait(start(), seconds=900)
    assert finished.status == 0, finished.out + finished.error
    return killed


def within(seconds):
    """At any moment of so many seconds."""
    return lambda process, rng: time.sleep(rng.uniform(0, seconds))


def timed(process, begun=lambda: True):
    """Seconds until it has begun and until it ends."""
    started = time.monotonic()
    while process.poll() is None and not begun():
        time.sleep(0.05)
    first = time.monotonic() - started
    finished = wait(process)
    assert finished.status == 0, finished.out + finished.error
    return first, time.monotonic() - started


@COUNTS
@pytest.mark.parametrize("script", ["cyclegan", "dcgan"])
def test_a_run_killed_at_any_moment_ends_like_one_that_was_not(
    start, phantom_dir, tmp_path, script, kills
):
    flags, epochs = {
        "cyclegan": ((*TINY, "--skip_evaluation"), 100),
        "dcgan": (TINY_DCGAN, 40),
    }[script]
    epochs = 6 if kills < 10 else epochs

    def start_in(name):
        where = (f"--data_dir={phantom_dir}", f"--workdir={tmp_path / name}")
        return start(script, *where, *flags, f"--epochs={epochs}")

    timed(start_in("whole"))
    before, whole = timed(  # its steps taken from the cache
        start_in("warm"), begun=(tmp_path / "warm" / "metrics.jsonl").exists
    )
    restorable = []

    def every_checkpoint_is_whole():
        folder = tmp_path / "killed" / "checkpoints"
        steps = checkpoint_steps(tmp_path / "killed") if folder.exists() else []
        if steps:
            load_state(tmp_path / "killed", steps[-1])
            restorable.append(steps[-1])

    records = tmp_path / "killed" / "metrics.jsonl"

    def written():
        return records.stat().st_mtime_ns if records.exists() else None

    # Half of them while they start; the others in their steps, and so soon that many of them
    # together do 0.8 of the run.
    longest = min(3.2 / kills, 0.7) * (whole - before)

    def at_a_random_moment(process, rng):
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, before))
            return
        as_found = written()
        while process.poll() is None and written() == as_found:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, longest))

    killed = kill_again_and_again(
        lambda: start_in("killed"), kills, at_a_random_moment, every_checkpoint_is_whole
    )
    last = checkpoint_steps(tmp_path / "whole")[-1]
    resumable = sum(step < last for step in restorable)
    print(f"{killed} of {kills} killed, {resumable} with a checkpoint before the last.")
    assert killed >= kills / 2
    assert resumable > 0.5 * kills or kills < 10
    assert restorable == sorted(restorable), "no run went back"
    assert checkpoint_steps(tmp_path / "killed")[-1] == last
    assert_same_run(tmp_path / "whole", tmp_path / "killed", last)


@COUNTS
def test_preparation_killed_at_any_moment_ends_like_one_that_was_not(
    start, phantom_dir, tmp_path, kills
):
    def start_in(name):
        return start("check_data", f"--data_dir={phantom_dir}", cache=tmp_path / name)

    def described(name):
        """What the finished slices say of themselves, their digest too."""
        slices = tmp_path / name / "slices"
        finished = [folder for folder in slices.glob("*") if folder.name.isalnum()]
        return {
            path.name: path.read_text() for folder in finished for path in folder.rglob("*.json")
        }

    _, seconds = timed(start_in("whole"))
    expected = described("whole")
    assert expected
    made = []

    def what_is_made_is_whole():
        if found := described("killed"):
            assert found == expected
            made.append(found)
            shutil.rmtree(tmp_path / "killed")

    killed = kill_again_and_again(
        lambda: start_in("killed"), kills, within(seconds), what_is_made_is_whole
    )
    print(f"{killed} of {kills} killed, {kills - len(made)} before the slices were made.")
    assert killed >= kills / 2
    assert described("killed") == expected


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

    _, seconds = timed(start_it())
    killed = kill_again_and_again(start_it, kills, within(seconds), every_file_is_whole)
    print(f"{killed} of {kills} killed.")
    assert killed >= kills / 2
    after = json.loads((workdir / "evaluation.json").read_text())
    assert after == before
    assert not list(workdir.rglob("*.partial"))

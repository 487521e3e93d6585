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
    """Starts a process until it was killed so many times; then lets it end.

    Args:
        start: gives a started process.
        kills: how many.
        wait_for_its_end: of a process and a random generator, returns when it is to be killed, or
            after it has ended by itself.
        check: called after each.
    """
    rng = random.Random(0)
    killed = 0
    for _ in range(3 * kills):
        process = start()
        wait_for_its_end(process, rng)
        if process.poll() is None:
            killed += 1
            process.kill()
        process.communicate()
        check()
        if killed == kills:
            break
    assert killed == kills
    finished = wait(start(), seconds=900)
    assert finished.status == 0, finished.out + finished.error


def within(seconds):
    """At any moment of so many seconds."""
    return lambda process, rng: time.sleep(rng.uniform(0, seconds))


def timed(process, begun=lambda: True):
    """Seconds until it has begun and until it ends."""
    started = time.monotonic()
    while process.poll() is None and not begun():
        time.sleep(0.05)
    first = time.monotonic() - started
    finished = wait(process, seconds=900)
    assert finished.status == 0, finished.out + finished.error
    return first, time.monotonic() - started


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
    started, records = time.time(), tmp_path / "warm" / "metrics.jsonl"
    before, _ = timed(start_in("warm"), begun=records.exists)  # its steps taken from the cache
    training = records.stat().st_mtime - started - before
    restorable = []

    def found():
        folder = tmp_path / "killed" / "checkpoints"
        return checkpoint_steps(tmp_path / "killed") if folder.exists() else []

    def every_checkpoint_is_whole():
        if steps := found():
            load_state(tmp_path / "killed", steps[-1])
            restorable.append(steps[-1])

    def at_a_random_moment(process, rng):
        """While it starts, or in one of the two epochs after its first checkpoint."""
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, before))
            return
        as_found = found()
        while process.poll() is None and found() == as_found:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 2 * training / epochs))

    kill_again_and_again(
        lambda: start_in("killed"), kills, at_a_random_moment, every_checkpoint_is_whole
    )
    last = checkpoint_steps(tmp_path / "whole")[-1]
    print(f"{len(restorable)} of {kills} had a checkpoint, of {sorted(set(restorable))}.")
    assert restorable == sorted(restorable), "no run went back"
    assert kills < 10 or restorable[-1] < last, "all were killed before the end"
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

    def what_is_made_is_whole():
        if found := described("killed"):
            assert found == expected
            shutil.rmtree(tmp_path / "killed")

    kill_again_and_again(lambda: start_in("killed"), kills, within(seconds), what_is_made_is_whole)
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
    kill_again_and_again(start_it, kills, within(seconds), every_file_is_whole)
    after = json.loads((workdir / "evaluation.json").read_text())
    assert after == before
    assert not list(workdir.rglob("*.partial"))

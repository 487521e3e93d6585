"""What a machine may do to a run: take its files or rights away, fill the disk, turn the clock."""

import resource
import shutil
from contextlib import contextmanager

import pytest
from conftest import ROOT, wait
from run_checks import assert_refused, assert_same_run, checkpoint_steps, read_records, wait_for

# Jumps by five minutes, forth and back, each second; what is measured has to be measured otherwise.
# Where it jumps by more than ten while orbax writes, this gives up: the run ends in a sentence.
RESTLESS_CLOCK = """
import time
_true = time.time
time.time = lambda: _true() + (150 if int(_true()) % 2 else -150)
"""


@pytest.fixture
def long_run(start_tiny, tmp_path):
    """A run that has saved something and has long to go: its process and its folder."""
    workdir = tmp_path / "run"
    process = start_tiny(workdir, "--epochs=2000", "--skip_evaluation")
    wait_for(lambda: (workdir / "checkpoints").exists() and checkpoint_steps(workdir))
    return process, workdir


def goes_on(start_tiny, workdir):
    """Started again, the run saves and stops when told to; gives what it printed."""
    folder = workdir / "checkpoints"
    before = checkpoint_steps(workdir) if folder.exists() else []
    process = start_tiny(workdir, "--epochs=2000", "--skip_evaluation")
    wait_for(lambda: folder.exists() and set(checkpoint_steps(workdir)) - set(before))
    process.terminate()
    finished = wait(process)
    assert finished.status == 143, finished.error
    return finished.out


def test_checkpoints_that_were_deleted_under_a_run(long_run, start_tiny):
    process, workdir = long_run
    shutil.rmtree(workdir / "checkpoints", ignore_errors=True)
    wait_for(lambda: process.poll() is not None or (workdir / "checkpoints").exists())
    process.terminate()
    finished = wait(process)
    assert "Traceback" not in finished.error
    assert finished.status in (2, 143)
    if finished.status == 2:
        assert_refused(finished, f"{workdir}/checkpoints", "same --workdir")
    goes_on(start_tiny, workdir)


def test_checkpoints_that_were_cut_off_under_a_run(long_run, start_tiny):
    process, workdir = long_run
    process.kill()
    wait(process)
    before = checkpoint_steps(workdir)
    for path in (workdir / "checkpoints" / str(before[-1])).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    shown = goes_on(start_tiny, workdir)
    assert f"{workdir}/checkpoints/{before[-1]} is damaged, was moved to" in shown
    assert len(before) == 1 or f"Going on from step {before[-2]}" in shown


def test_a_disk_that_is_full_ends_the_run_in_a_sentence_and_it_goes_on(long_run, start_tiny):
    """No file may grow any more, as on a full disk."""
    process, workdir = long_run
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (64, 64))
    finished = wait(process)
    assert_refused(finished, "File too large")
    records = read_records(workdir)
    assert "Going on from step" in goes_on(start_tiny, workdir)
    assert len(read_records(workdir)) >= len(records) - 2


@contextmanager
def only_read(folder):
    """While entered, nothing in the folder may be made, changed or removed."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.parametrize("flag", ["workdir", "cache_dir"])
def test_a_folder_that_may_only_be_read_is_refused(run_tiny, tmp_path, flag):
    folder = tmp_path / "locked"
    folder.mkdir()
    flags = [f"--cache_dir={folder}"] if flag == "cache_dir" else []
    workdir = folder / "run" if flag == "workdir" else tmp_path / "run"
    with only_read(folder):
        assert_refused(run_tiny(workdir, "--epochs=1", *flags), f"--{flag}", str(folder), "denied")


def test_a_folder_that_may_no_longer_be_written_ends_the_run_and_it_goes_on(long_run, start_tiny):
    process, workdir = long_run
    with only_read(workdir):
        assert_refused(wait(process), str(workdir), "Permission denied")
    assert "Going on from step" in goes_on(start_tiny, workdir)


def test_a_cache_that_may_only_be_read_is_used(finished_run, run_tiny, cache_dir, tmp_path):
    cache = shutil.copytree(cache_dir, tmp_path / "cache")
    flags = ("--epochs=1", "--skip_evaluation", f"--cache_dir={cache}")
    with only_read(cache):
        finished = run_tiny(tmp_path / "run", *flags)
    assert finished.status == 0, finished.error
    assert f"Cache {cache} can only be read" in finished.out
    assert "Permission" not in finished.error
    records = read_records(tmp_path / "run")
    assert records == read_records(finished_run[0])[: len(records)] != []


def test_a_clock_that_jumps_changes_nothing(run_tiny, finished_run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(RESTLESS_CLOCK)
    workdir = tmp_path / "run"
    paths = f"{tmp_path}:{ROOT}"
    finished = run_tiny(workdir, "--epochs=2", environment={"PYTHONPATH": paths})
    assert finished.status == 0, finished.error
    assert_same_run(workdir, finished_run[0], step=4)
    for record in (workdir / "metrics.jsonl").read_text().splitlines():
        assert '"seconds_per_step": -' not in record


def test_a_run_in_use_is_refused_and_a_crash_frees_it(long_run, start_tiny, run_tiny):
    process, workdir = long_run
    assert_refused(run_tiny(workdir, "--epochs=2000"), "is in use by another process")
    process.kill()
    wait(process)
    goes_on(start_tiny, workdir)

"""The scripts as two processes on one machine: one run, written once, gone on with anywhere."""

import signal
import socket
import time

import numpy as np
import pytest
from conftest import ROOT, wait
from run_checks import assert_refused, checkpoint_steps, load_state, read_records, wait_for

COUNT = 2


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_two(start):
    """As `start`, but both processes of a run; `own`, `of_second` are number 1's."""

    def start_both(workdir, *flags, own=(), cwd_of_first=ROOT, **of_second):
        shared = (
            "--batch_size=4",
            f"--distributed=127.0.0.1:{free_port()}",
            f"--process_count={COUNT}",
        )
        return [
            start(workdir, *flags, *shared, "--process_index=0", cwd=cwd_of_first),
            start(workdir, *flags, *shared, "--process_index=1", *own, **of_second),
        ]

    return start_both


@pytest.fixture(scope="session")
def start_spread(start_tiny):
    """start_spread(workdir, *flags): the two processes of a tiny CycleGAN run."""
    start_both = in_two(start_tiny)
    return lambda workdir, *flags, **own: start_both(workdir, "--skip_evaluation", *flags, **own)


@pytest.fixture(scope="session")
def in_one(run_tiny, tmp_path_factory):
    """The folder of the same run in one process with as many devices."""
    workdir = tmp_path_factory.mktemp("spread") / "one"
    finished = run_tiny(workdir, "--epochs=3", "--batch_size=4", "--skip_evaluation", devices=COUNT)
    assert finished.status == 0, finished.error
    return workdir


def assert_like(workdir, other, step):
    """A run up to its last step, and another up to the same: but for rounding of means."""
    for (_, ours), (_, theirs) in zip(
        load_state(workdir, step), load_state(other, step), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    records = read_records(workdir)
    assert records[-1]["step"] == step
    for ours, theirs in zip(records, read_records(other), strict=False):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


def test_two_processes_train_like_two_devices_of_one(start_spread, in_one, tmp_path):
    first, second = map(wait, start_spread(tmp_path / "run", "--epochs=2"))
    assert (first.status, second.status) == (0, 0), first.error + second.error
    assert "Devices: 2 x cpu in 2 processes; batch 4" in first.out
    assert "Messages are process 0's." in second.out
    assert "Training" not in second.out
    assert_like(tmp_path / "run", in_one, step=4)


def test_a_dcgan_trains_in_two_processes_and_goes_on_in_one(
    start_tiny_dcgan, run_tiny_dcgan, tmp_path
):
    one, spread = tmp_path / "one", tmp_path / "spread"
    finished = run_tiny_dcgan(one, "--epochs=3", devices=COUNT)
    assert finished.status == 0, finished.error
    first, second = map(wait, in_two(start_tiny_dcgan)(spread, "--epochs=2"))
    assert (first.status, second.status) == (0, 0), first.error + second.error
    finished = run_tiny_dcgan(spread, "--epochs=3", devices=COUNT)
    assert finished.status == 0, finished.error
    assert "Going on from step 2" in finished.out
    assert_like(spread, one, step=3)


def test_a_run_goes_on_with_another_number_of_processes(start_spread, run_tiny, in_one, tmp_path):
    parted = map(wait, start_spread(tmp_path / "run", "--epochs=1"))
    assert [finished.status for finished in parted] == [0, 0]
    finished = run_tiny(
        tmp_path / "run", "--epochs=2", "--batch_size=4", "--skip_evaluation", devices=COUNT
    )
    assert finished.status == 0, finished.error
    assert_like(tmp_path / "run", in_one, step=4)
    together = map(wait, start_spread(tmp_path / "run", "--epochs=3"))
    assert [finished.status for finished in together] == [0, 0]
    assert_like(tmp_path / "run", in_one, step=6)


def test_told_to_stop_anywhere_all_stop_and_save(start_spread, tmp_path):
    workdir = tmp_path / "run"
    started = start_spread(workdir, "--epochs=200")
    wait_for(lambda: (workdir / "metrics.jsonl").exists() and len(read_records(workdir)) > 3)
    asked = time.monotonic()
    started[1].send_signal(signal.SIGTERM)
    first, second = map(wait, started)
    assert time.monotonic() - asked < 20, "alone it takes less than 10"
    assert (first.status, second.status) == (128 + signal.SIGTERM,) * 2, first.error
    assert "Stopped by SIGTERM after step" in first.out
    last = checkpoint_steps(workdir)[-1]
    assert f"after step {last} of 400" in first.out


@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_dies_the_other_ends_and_says_which(start_spread, tmp_path, killed):
    workdir = tmp_path / "run"
    started = start_spread(workdir, "--epochs=200")
    wait_for(lambda: checkpoint_steps(workdir) if (workdir / "checkpoints").exists() else [])
    started[killed].kill()
    other = wait(started[1 - killed], seconds=45)  # 20 on a machine with nothing else to do
    assert other.status not in (0, 2)
    assert ("leader task" if killed == 0 else "unhealthy") in other.error
    assert "Traceback" not in other.error
    assert "Fatal Python error" not in other.error
    wait(started[killed])
    last = checkpoint_steps(workdir)[-1]
    again = start_spread(workdir, "--epochs=200")
    wait_for(lambda: checkpoint_steps(workdir)[-1] > last)
    again[0].terminate()
    first, second = map(wait, again)
    assert (first.status, second.status) == (128 + signal.SIGTERM,) * 2, first.error
    assert f"Going on from step {last}" in first.out


def test_processes_that_do_not_agree_are_refused(start_spread, tmp_path):
    for finished in map(wait, start_spread(tmp_path / "a", own=["--seed=1"])):
        assert_refused(finished, "Process 1 began with other options than process 0")


def test_a_folder_that_not_all_of_them_see_is_refused(start_spread, tmp_path):
    """A path from where each was started, and they were started in different places."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    for finished in map(wait, start_spread("run", cwd_of_first=here, cwd=there)):
        assert_refused(finished, "is another folder for process 1", "share")

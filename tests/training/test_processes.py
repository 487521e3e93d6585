"""Runs spread over real processes, which talk over the loopback, train like one process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.processes import Place, join

SCRIPT = Path(__file__).with_name("spread_run.py")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_spread(count, devices, file):
    address = f"127.0.0.1:{free_port()}"
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(SCRIPT.parents[2])}
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, address, str(count), str(index), file],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]
    for process in started:
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
    with np.load(file) as found:
        return dict(found)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process on one device, one on four and two on two each end with."""
    folder = tmp_path_factory.mktemp("spread")
    return {
        (count, devices): run_spread(count, devices, folder / f"{count}x{devices}.npz")
        for count, devices in ((1, 1), (1, 4), (2, 2))
    }


def distances(found, one, other, name):
    """Of each seed, how far apart losses and states are, relative to their largest number."""
    return [
        [
            np.abs(found[one][key] - found[other][key]).max() / np.abs(found[one][key]).max()
            for key in (f"{name}: losses {seed}", f"{name}: state {seed}")
        ]
        for seed in range(3)
    ]


@pytest.mark.parametrize("other", [(1, 1), (2, 2)])
@pytest.mark.parametrize("name", ["cyclegan", "dcgan"])
def test_devices_and_processes_train_like_one_on_four_devices(found, name, other):
    """Losses of every seed; states of most: a rounding error may pass an activation's corner."""
    losses, states = np.transpose(distances(found, (1, 4), other, name))
    assert (losses < 1e-4).all()
    assert (states < 1e-4).sum() >= 2
    assert (states < 0.02).all()


def test_norms_of_each_device_know_devices_and_not_processes(found):
    name = "dcgan, norms of each device"
    assert np.max(distances(found, (1, 4), (2, 2), name)) < 1e-4
    assert np.min(distances(found, (1, 4), (1, 1), name)) > 1e-3


def test_a_leader_that_does_not_answer_is_named():
    place = Place(f"127.0.0.1:{free_port()}", 2, 1)
    with pytest.raises(UserError, match=r"Process 1 of 2: process 0 has not answered at 127.*0 s"):
        join(place, seconds=0)


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=r"cannot be listened at .*another port"):
            join(Place(address, 2, 0))


@pytest.mark.parametrize("address", ["node1", "node1:", ":80", "node1:99999", "node1:x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UserError, match=r"--distributed=.*HOST:PORT"):
        join(Place(address, 2, 1))

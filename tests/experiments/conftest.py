"""Runs the scripts as a person does: in a process of their own, from the repository's root."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from brainsynth_jax.data.phantom import write_phantom

ROOT = Path(__file__).parents[2]

# The smallest networks and slices that go all the way.
TINY = (
    "--generator=resnet",
    "--width=2",
    "--image_size=32",
    "--min_tumor_area_pixels=1",
    "--test_fraction=0.34",
    "--steps_per_epoch=2",
    "--pool_size=3",
    "--log_every=1",
    "--discriminator_noise=0.1",
    "--average_decay=0.9",
)

# The same for the DCGAN, with all that a run carries along: average, noise, adaptive augmentation.
TINY_DCGAN = (
    "--width=1",
    "--image_size=64",
    "--channels=1",
    "--slices=all",
    "--subjects=2",
    "--test_subjects=1",
    "--steps_per_epoch=1",
    "--batch_size=4",
    "--log_every=1",
    "--loss=hinge",
    "--batch_statistics=all_devices",
    "--augment=shift,cutout",
    "--augment_target=0.6",
    "--average_decay=0.9",
)


class Finished(NamedTuple):
    status: int
    out: str
    error: str


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    """One for all of pytest's workers, so that a step is compiled once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "scripts_cache"


@pytest.fixture(scope="session")
def phantom_dir(cache_dir):
    return write_phantom(cache_dir, subjects=3, spacing_mm=4.0, show_progress=False)


@pytest.fixture(scope="session")
def start(cache_dir):
    """start(script, *flags): the script's process, on one device unless `devices` says more.

    It may not write what its permissions forbid, even where the tests are root's.
    """
    plainly = () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override")

    def start(script, *flags, devices=1, cwd=ROOT, environment=None, cache=cache_dir):
        own = {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        return subprocess.Popen(
            [
                *plainly,
                sys.executable,
                ROOT / f"experiments/{script}.py",
                *([f"--cache_dir={cache}"] if cache else []),
                *flags,
            ],
            cwd=cwd,
            env=os.environ | own | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def start_tiny(start, phantom_dir):
    """start_tiny(workdir, *flags): the process of a tiny CycleGAN run on the phantom."""

    def start_tiny(workdir, *flags, **process):
        where = (f"--data_dir={phantom_dir}", f"--workdir={workdir}")
        return start("cyclegan", *where, *TINY, *flags, **process)

    return start_tiny


@pytest.fixture(scope="session")
def start_tiny_dcgan(start, phantom_dir):
    """start_tiny_dcgan(workdir, *flags): the process of a tiny DCGAN run on the phantom."""

    def start_tiny_dcgan(workdir, *flags, **process):
        where = (f"--data_dir={phantom_dir}", f"--workdir={workdir}")
        return start("dcgan", *where, *TINY_DCGAN, *flags, **process)

    return start_tiny_dcgan


def wait(process, seconds=300):
    out, error = process.communicate(timeout=seconds)
    return Finished(process.returncode, out, error)


@pytest.fixture(scope="session")
def run(start):
    """run(script, *flags): waits for the script and returns its status and what it printed."""
    return lambda script, *flags, **process: wait(start(script, *flags, **process))


@pytest.fixture(scope="session")
def run_tiny(start_tiny):
    """run_tiny(workdir, *flags): a tiny run, waited for."""
    return lambda workdir, *flags, **process: wait(start_tiny(workdir, *flags, **process))


@pytest.fixture(scope="session")
def finished_run(run_tiny, tmp_path_factory):
    """The folder of a run of two epochs of two steps, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    finished = run_tiny(workdir, "--epochs=2")
    assert finished.status == 0, finished.error
    return workdir, finished


@pytest.fixture(scope="session")
def run_tiny_dcgan(start_tiny_dcgan):
    """run_tiny_dcgan(workdir, *flags): a tiny DCGAN run, waited for."""
    return lambda workdir, *flags, **process: wait(start_tiny_dcgan(workdir, *flags, **process))


@pytest.fixture(scope="session")
def finished_dcgan(run_tiny_dcgan, tmp_path_factory):
    """The folder of a DCGAN run of four epochs of one step, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "dcgan"
    finished = run_tiny_dcgan(workdir, "--epochs=4")
    assert finished.status == 0, finished.error
    return workdir, finished

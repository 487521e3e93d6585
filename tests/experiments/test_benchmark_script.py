"""The benchmark works; how fast anything is, it is not for a test to say."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_checks import ROOT

TINY = ("--width=4", "--image_size=64", "--rounds=2")


def run_benchmark(*flags):
    done = subprocess.run(
        [sys.executable, ROOT / "experiments/benchmark.py", *flags],
        env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "records.json"
    code, out, err = run_benchmark(
        *TINY, "--only=cyclegan-resnet,dcgan,dcgan-sampling", "--batch_sizes=2", f"--json={path}"
    )
    assert code == 0, err
    return json.loads(path.read_text()), out


def test_each_workload_has_its_record(records):
    found, out = records
    assert [record["name"] for record in found] == ["cyclegan-resnet", "dcgan", "dcgan-sampling"]
    for record in found:
        assert record["backend"] == "cpu"
        assert record["precision"] == "float32"
        assert (record["batch_size"], record["image_size"]) == (2, 64)
        assert 0 < record["seconds_median"] < 60
        assert 0 <= record["seconds_spread"] < 60
        assert 50 < record["peak_memory_mib"] < 20_000
        assert record["flops"] > 1e6
        assert 0 < record["share_of_product_rate"] < 4
        assert record["name"] in out


def test_operations_are_also_counted_by_xla(records):
    for record in records[0]:
        if record["xla_flops"] is not None:
            assert 0.2 < record["xla_flops"] / record["flops"] < 20


def test_starting_again_takes_the_step_from_the_cache(records):
    for record in records[0]:
        if record["name"] != "dcgan-sampling":  # which takes no time to compile at this width
            assert record["compile_seconds_from_cache"] < record["compile_seconds"]


def test_records_are_never_overwritten(tmp_path):
    path = tmp_path / "records.json"
    path.write_text("mine")
    code, _, err = run_benchmark(*TINY, "--only=dcgan", f"--json={path}")
    assert code == 2
    assert str(path) in err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("others", "flag", "hint"),
    [
        ((), "--only=cyclegan", "cyclegan-unet, cyclegan-resnet, dcgan"),
        ((), "--precisions=float16", "float32, bfloat16"),
        ((), "--batch_sizes=0", "1,8"),
        ((), "--image_size=100", "U-Net"),
        (["--only=dcgan"], "--json=nowhere/records.json", "no folder nowhere"),
    ],
)
def test_what_is_unknown_is_named_with_what_is_known(others, flag, hint):
    code, _, err = run_benchmark(*TINY, *others, flag)
    assert code == 2
    assert flag in err
    assert hint in err


def test_growth_is_of_training_steps(tmp_path):
    plot = tmp_path / "growth.png"
    code, _, err = run_benchmark("--only=dcgan-sampling,pipeline", f"--growth={plot}")
    assert code == 2
    assert "cyclegan-unet, cyclegan-resnet, dcgan" in err
    assert not plot.exists()


def test_what_does_not_fit_is_named_and_the_rest_is_timed():
    """A width that takes more memory than there is."""
    code, out, err = run_benchmark(
        "--image_size=64", "--rounds=1", "--only=dcgan-sampling", "--width=2000000"
    )
    assert code == 2
    assert "dcgan-sampling, float32, batch 1, 64 pixels, width 2000000 is left out" in out
    assert "--width" in err


def test_stopping_ends_every_process(tmp_path):
    """The processes that take turns are halted; nothing but their end frees their memory."""
    process = subprocess.Popen(
        [
            sys.executable,
            ROOT / "experiments/benchmark.py",
            *TINY,
            "--only=dcgan",
            "--rounds=100000",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = wait_for(lambda: children_of(process.pid))
    process.send_signal(signal.SIGTERM)
    assert "Stopped." in process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert not any(Path(f"/proc/{child}/stat").exists() for child in children)


def children_of(process):
    """Numbers of the processes that it started to take turns."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [child for child in found if "contender" in Path(f"/proc/{child}/cmdline").read_text()]


def wait_for(find, seconds=120):
    """What `find` gives, once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.1)
    pytest.fail("waited in vain")


def test_reading_has_its_records(tmp_path):
    path = tmp_path / "records.json"
    code, _, err = run_benchmark("--only=preparation,pipeline", "--batch_sizes=2", f"--json={path}")
    assert code == 0, err
    preparation, *pipelines = json.loads(path.read_text())
    assert 0 < preparation["seconds_median"] < 60
    assert [record["name"] for record in pipelines] == ["cyclegan-pipeline", "dcgan-pipeline"]
    for record in pipelines:
        assert record["batch_size"] == 2
        assert record["slices_per_second_per_core"] > 10

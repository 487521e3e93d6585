"""The benchmark works; how fast anything is, it is not for a test to say."""

import json
import os
import subprocess
import sys

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


def test_records_are_never_overwritten(tmp_path):
    path = tmp_path / "records.json"
    path.write_text("mine")
    code, _, err = run_benchmark(*TINY, f"--json={path}")
    assert code == 2
    assert str(path) in err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--only=cyclegan", "cyclegan-unet, cyclegan-resnet, dcgan"),
        ("--precisions=float16", "float32, bfloat16"),
        ("--batch_sizes=0", "1,8"),
    ],
)
def test_what_is_unknown_is_named_with_what_is_known(flag, hint):
    code, _, err = run_benchmark(*TINY, flag)
    assert code == 2
    assert flag in err
    assert hint in err


def test_reading_has_its_records(tmp_path):
    path = tmp_path / "records.json"
    code, _, err = run_benchmark("--only=preparation,pipeline", "--batch_sizes=2", f"--json={path}")
    assert code == 0, err
    preparation, pipeline = json.loads(path.read_text())
    assert 0 < preparation["seconds_median"] < 60
    assert pipeline["batch_size"] == 2
    assert pipeline["slices_per_second_per_core"] > 10

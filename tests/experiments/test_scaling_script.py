"""How fast many devices would be, on paper and in processes."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, wait
from run_checks import assert_refused


def run(*flags, **environment):
    return wait(
        subprocess.Popen(
            [sys.executable, ROOT / "experiments/scaling.py", *flags],
            env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": ""} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


def test_the_table_on_paper(tmp_path):
    finished = run("--name=dcgan", "--step_seconds=0.01", "--devices=1,64")
    assert finished.status == 0, finished.error
    row = next(line for line in finished.out.splitlines() if line.startswith("dcgan "))
    alone, many = (float(word.rstrip("%")) for word in row.split() if word.endswith("%"))
    assert alone == 100
    assert 0 < many < 100

    record = {"name": "cyclegan-unet", "precision": "float32", "batch_size": 2, "image_size": 256}
    other = {"name": "pipeline"}
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps([record | {"width": 8, "seconds_median": 0.5}, other]))
    finished = run(f"--benchmark={path}")
    assert finished.status == 0, finished.error
    assert "cyclegan-unet    float32       2      0.5" in finished.out


def test_steps_of_processes_are_measured(tmp_path):
    counts = [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]
    measured = f"--measure={','.join(map(str, counts))}"
    small = ("--name=dcgan", "--image_size=64", "--width=1", "--rounds=1")
    finished = run(*small, measured, JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    assert finished.status == 0, finished.error
    rows = [line.split() for line in finished.out.splitlines()[-len(counts) :]]
    for count, (shown, _, seconds, images, _) in zip(counts, rows, strict=True):
        assert shown == str(count)
        assert float(seconds) * float(images) == pytest.approx(count, rel=0.2)
    assert rows[0][1] == rows[0][2]
    assert rows[0][-1] == "100%"


def test_what_is_missing_is_named(tmp_path):
    assert_refused(run(), "--step_seconds or --benchmark is needed")
    assert_refused(run("--measure=0"), "--measure=0: whole numbers")
    assert_refused(run("--measure=9999"), "9999 processes of a core each")
    (tmp_path / "b.json").write_text("{}x")
    assert_refused(run(f"--benchmark={tmp_path / 'b.json'}"), "b.json", "no records")

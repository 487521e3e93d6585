"""The CycleGAN script from scans to report, stopped and gone on with, and given bad input."""

import csv
import json
import shutil
import signal

import jax
import numpy as np
import pytest
from conftest import TINY, wait
from PIL import Image
from run_checks import (
    assert_every_flag_is_explained,
    assert_fits_schema,
    assert_refused,
    assert_same_run,
    checkpoint_steps,
    read_records,
    wait_for,
)

TABLE_2 = {
    *("Dis", "Dis_A", "Dis_fakeA", "Dis_realA", "Dis_B", "Dis_fakeB", "Dis_realB"),
    *("Gen", "Gen_AB", "Gen_BA"),
}


def test_a_run_leaves_everything_that_it_promises(finished_run):
    workdir, finished = finished_run
    assert "Whole-tumour Dice on 1 held-out subjects" in finished.out
    assert str(workdir) in finished.out
    assert "best smoothed threshold" in finished.out

    options = json.loads((workdir / "options.json").read_text())
    assert options["flags"]["generator"] == "resnet"
    assert options["flags"]["preset"] == "paper"
    assert len(options["data"]["train_subjects"]) == 2
    assert len(options["data"]["test_subjects"]) == 1
    assert options["versions"]["jax"] == jax.__version__

    losses = [r for r in read_records(workdir) if "Gen" in r]
    assert [(r["step"], r["epoch"]) for r in losses] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert losses[0].keys() > TABLE_2
    assert sum("test_dice" in r for r in read_records(workdir)) == 2
    assert (workdir / "metrics.jsonl").read_text().count('"peak_memory_mib"') == 2

    for name in ("curves.png", "report.html", "MODEL_CARD.md", "samples/final_a_to_b.png"):
        assert (workdir / name).stat().st_size > 1000, name
    for epoch in (1, 2):
        assert (workdir / "samples" / f"epoch_00{epoch}_b_to_a.png").exists()
    assert list((workdir / "tensorboard").glob("events*"))
    assert "<script" not in (workdir / "report.html").read_text()


def test_evaluation_json_holds_the_papers_numbers_and_the_baseline(finished_run):
    evaluation = json.loads((finished_run[0] / "evaluation.json").read_text())
    assert_fits_schema(evaluation)
    assert evaluation["weights"] == "ema"
    assert evaluation["synthetic"]["placement"]["synthetic"]["subjects"] == 2
    assert evaluation["step"] == 4
    for split in ("train", "test"):
        part = evaluation[split]
        t = part["table2"]
        assert t.keys() == TABLE_2
        assert t["Dis_A"] == pytest.approx((t["Dis_realA"] + t["Dis_fakeA"]) / 2)
        assert t["Dis"] == pytest.approx(t["Dis_A"] + t["Dis_B"])
        mae = part["mae"]
        cycle = 10 * (mae["cycled_a"] + mae["cycled_b"])
        assert t["Gen_AB"] + t["Gen_BA"] - t["Gen"] == pytest.approx(cycle, rel=1e-4)
        assert part["paired_cycle"] == pytest.approx(10 * (mae["a_to_b"] + mae["b_to_a"]))
        for scores in (part["segmentation"], part["threshold_baseline"]):
            assert set(scores["summary"]) == {
                *("dice", "sensitivity", "precision", "hausdorff_95_mm", "centroid_error_mm")
            }
            assert 0 <= scores["summary"]["dice"]["mean"] <= 1
            assert scores["lesions"]["summary"]["found"] >= 0
            assert (scores["empty_slices"] is None) == (split == "train")
    empty = evaluation["test"]["segmentation"]["empty_slices"]
    assert empty["summary"]["empty_slices"] == 8
    assert evaluation["published_table2"]["unet"]["Gen"] == 2.572


def test_tables_hold_each_slice_and_each_subject(finished_run):
    workdir = finished_run[0]
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    slices, subjects = (
        list(csv.DictReader((workdir / name).open())) for name in ("slices.csv", "subjects.csv")
    )
    assert len(slices) == evaluation["test"]["slices"]
    assert {row["subject"] for row in slices} == set(evaluation["test"]["segmentation"]["subjects"])
    means = np.mean([float(row["b_to_a_mae"]) for row in slices])
    assert means == pytest.approx(evaluation["test"]["mae"]["b_to_a"], rel=1e-5)
    assert [row["split"] for row in subjects] == ["train", "train", "test"]
    scores = evaluation["test"]["segmentation"]["subjects"][subjects[2]["subject"]]
    assert float(subjects[2]["dice"]) == scores["dice"]
    assert [row["empty_slices"] for row in subjects] == ["", "", "8"]


def test_two_steps_a_new_process_and_two_steps_are_four_steps(run_tiny, finished_run, tmp_path):
    """Bit for bit: weights, moments, pool, average, data order and every logged number."""
    first = run_tiny(tmp_path / "parts", "--epochs=1")
    assert first.status == 0, first.error
    second = run_tiny(tmp_path / "parts", "--epochs=2")
    assert second.status == 0, second.error
    assert "Going on from step 2 of 4" in second.out
    assert_same_run(tmp_path / "parts", finished_run[0], step=4)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_run_that_is_told_to_stop_saves_and_goes_on(start_tiny, run, tmp_path, asked):
    workdir = tmp_path / "stopped"
    process = start_tiny(workdir, "--epochs=5000")
    wait_for(lambda: (workdir / "metrics.jsonl").exists() and len(read_records(workdir)) > 3)
    process.send_signal(asked)
    stopped = wait(process, seconds=10)
    assert stopped.status == 128 + asked, stopped.error
    assert f"Stopped by {asked.name} after step {checkpoint_steps(workdir)[-1]} of" in stopped.out
    assert f"--workdir={workdir}" in stopped.out

    other = run("cyclegan", f"--workdir={workdir}", "--learning_rate=0.001", "--seed=0")
    assert other.status == 2
    assert "--learning_rate was 0.0002 and is now 0.001" in other.error
    assert "--seed" not in other.error


def test_nothing_is_written_outside_run_folder_and_cache(run_tiny, tmp_path):
    homes = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "cwd")}
    for folder in homes.values():
        folder.mkdir()
    environment = {name: str(homes[name]) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    finished = run_tiny(tmp_path / "run", "--epochs=1", cwd=homes["cwd"], environment=environment)
    assert finished.status == 0, finished.error
    assert str(tmp_path / "run") in finished.out
    assert "Data cache" in finished.out
    assert [path for folder in homes.values() for path in folder.rglob("*")] == []


def test_a_damaged_checkpoint_falls_back_and_ends_the_same(run, finished_run, tmp_path):
    workdir = tmp_path / "damaged"
    shutil.copytree(finished_run[0], workdir)
    newest = workdir / "checkpoints" / "4"
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    finished = run("cyclegan", f"--workdir={workdir}")
    assert finished.status == 0, finished.error
    assert "step 4 is damaged" in finished.out
    assert "Going on from step 2" in finished.out
    assert_same_run(workdir, finished_run[0], step=4)


def test_pictures_without_true_masks_leave_out_what_needs_them(run, tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("trainA", 3), ("trainB", 2), ("testA", 3), ("testB", 2)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 256, (32, 32), np.uint8)
            if name.endswith("B"):
                picture = np.where(picture > 200, 255, 0).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / name / f"P{number}.png")
    workdir = tmp_path / "unpaired"
    flags = (f"--data_dir={tmp_path / 'pictures'}", f"--workdir={workdir}", "--epochs=1", *TINY)
    finished = run("cyclegan", *flags)
    assert finished.status == 0, finished.error
    assert "No true masks" in finished.out
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    for split in ("train", "test"):
        part = evaluation[split]
        assert part["segmentation"] is part["threshold_baseline"] is part["paired_cycle"] is None
        assert part["mae"]["a_to_b"] is None
        assert part["mae"]["cycled_b"] > 0
        assert part["slices"] == 2
        assert part["table2"].keys() == TABLE_2
    assert "no slice of this data set comes with its own true mask" in (
        (workdir / "report.html").read_text()
    )
    assert [path.name for path in workdir.glob("*.csv")] == ["copies.csv"]
    assert_fits_schema(evaluation)
    assert evaluation["synthetic"]["placement"] is None


def test_two_devices_train_like_one(run_tiny, tmp_path):
    flags = ("--epochs=1", "--batch_size=2")
    for devices in (1, 2):
        finished = run_tiny(tmp_path / str(devices), *flags, devices=devices)
        assert finished.status == 0, finished.error
        assert f"Devices: {devices} x" in finished.out
    records = [read_records(tmp_path / devices) for devices in ("1", "2")]
    losses = [[record for record in run if "Gen" in record] for run in records]
    assert len(losses[0]) == 2
    for one, two in zip(*losses, strict=True):
        assert one == pytest.approx(two, rel=0.01)


def test_a_dry_run_tells_the_cost_and_writes_no_run(run_tiny, tmp_path):
    finished = run_tiny(tmp_path / "dry", "--dry_run")
    assert finished.status == 0, finished.error
    for words in ("Estimate:", "s a step", "MiB", "generators of", "train: ", "width=2"):
        assert words in finished.out
    assert not (tmp_path / "dry").exists()


def test_help_groups_every_flag(run):
    finished = run("cyclegan", "--help")
    assert finished.status == 0
    for words in ("Data\n----", "Training\n--------", "--generator=unet|resnet", "demo: resize"):
        assert words in finished.out
    assert_every_flag_is_explained("cyclegan", finished.out)


def test_evaluate_gives_the_same_numbers_again(run, finished_run, tmp_path):
    workdir = tmp_path / "again"
    shutil.copytree(finished_run[0], workdir)
    before = json.loads((workdir / "evaluation.json").read_text())
    (workdir / "evaluation.json").unlink()
    (workdir / "report.html").unlink()
    finished = run("evaluate", f"--workdir={workdir}")
    assert finished.status == 0, finished.error
    assert json.loads((workdir / "evaluation.json").read_text()) == before
    assert (workdir / "report.html").exists()
    finished = run("evaluate", f"--workdir={workdir}", "--checkpoint=2")
    assert json.loads((workdir / "evaluation.json").read_text())["step"] == 2
    finished = run("evaluate", f"--workdir={workdir}", "--checkpoint=3")
    assert finished.status == 2
    assert "no checkpoint of step 3; there are [2, 4]" in finished.error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--generator=vae"], ["--generator=vae", "unet", "resnet"]),
        (["--generater=unet"], ["generater", "--help"]),
        (["--epochs=0"], ["--epochs=0", "positive"]),
        (["--generator=unet", "--image_size=200"], ["--image_size=200", "multiple of 256"]),
        (["--batch_size=3"], ["--batch_size=3", "2 devices", "2 or 4"]),
        (["--data_dir=/no/such/folder"], ["/no/such/folder"]),
        (["--workdir=README.md"], ["README.md is a file"]),
        (["--workdir=tests"], ["tests", "not empty"]),
        (["unet"], ["unet", "--name=value"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_bad_flags_end_in_one_sentence(run, flags, words):
    finished = run("cyclegan", *flags, devices=2 if "--batch_size=3" in flags else 1)
    assert_refused(finished, *words)

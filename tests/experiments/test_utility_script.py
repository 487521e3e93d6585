"""The usefulness script from scans to sentence, gone on with, and given bad input."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from run_checks import assert_every_flag_is_explained, assert_refused

TINY = (
    "--preset=demo",
    "--generator=resnet",
    "--generator_preset=paper",
    "--generator_flags=--width=2 --epochs=1 --steps_per_epoch=2 --pool_size=3 --test_pairs=2",
    "--image_size=32",
    "--segmenter_size=32",
    "--min_tumor_area_pixels=1",
    "--test_fraction=0.34",
    "--synthetic_pairs=6",
    "--steps=2",
)
ARMS = (
    "real",
    "real, usual changes",
    "real + 50% synthetic",
    "usual changes + 50% synthetic",
    "synthetic only",
)


@pytest.fixture(scope="module")
def run_utility(run, phantom_dir):
    def run_utility(workdir, *flags):
        return run("utility", f"--data_dir={phantom_dir}", f"--workdir={workdir}", *TINY, *flags)

    return run_utility


@pytest.fixture(scope="module")
def experiment(run_utility, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("utility") / "whole"
    finished = run_utility(workdir, "--subjects=all")
    assert finished.status == 0, finished.error
    return workdir, finished


def load(workdir):
    return json.loads((workdir / "utility.json").read_text())


def test_an_experiment_leaves_everything_that_it_promises(experiment):
    workdir, finished = experiment
    assert "Whether training on “real + 50% synthetic” in place of “real” helps" in finished.out
    results = load(workdir)
    assert [t["arm"] for t in results["trainings"]] == list(ARMS)
    assert {t["subjects"] for t in results["trainings"]} == {2}
    assert results["held_out"] == len(results["trainings"][0]["dice"]) == 1
    assert list(results["threshold"]) == ["2"]
    assert results["comparisons"][0]["arm"] == "real + 50% synthetic"
    for name in ("utility.html", "utility.png", "samples/pairs_002.png"):
        assert (workdir / name).stat().st_size > 1000, name
    with (workdir / "utility.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert float(rows[0]["dice"]) == next(iter(results["trainings"][0]["dice"].values()))


def test_the_generator_sees_the_annotated_subjects_alone(experiment, run_utility, tmp_path):
    options = json.loads((experiment[0] / "generators/002_subjects/options.json").read_text())
    assert options["flags"]["train_subjects"] == 2
    held_out = set(load(experiment[0])["trainings"][0]["dice"])
    assert held_out.isdisjoint(options["data"]["train_subjects"])
    assert set(options["data"]["test_subjects"]) == held_out


def test_what_is_done_is_not_done_again(experiment, run):
    workdir, _ = experiment
    before = load(workdir)
    kept = {"trainings": before["trainings"][:3]}
    (workdir / "utility.json").write_text(json.dumps(kept))
    checkpoint = workdir / "generators/002_subjects/options.json"
    written = checkpoint.stat().st_mtime_ns
    again = run("utility", f"--workdir={workdir}")
    assert again.status == 0, again.error
    assert again.out.count("Done before.") == 3
    assert load(workdir) == before
    assert checkpoint.stat().st_mtime_ns == written
    assert_refused(run("utility", f"--workdir={workdir}", "--steps=3"), "--steps", "2", "3")


def test_a_trained_cyclegan_serves_all_numbers_of_subjects(experiment, run_utility, tmp_path):
    given = experiment[0] / "generators/002_subjects"
    finished = run_utility(tmp_path / "given", f"--run={given}", "--subjects=1,2,9")
    assert finished.status == 0, finished.error
    assert "only 2 subjects are there to train on, so 9 is left out" in finished.out
    assert {t["subjects"] for t in load(tmp_path / "given")["trainings"]} == {1, 2}
    assert not (tmp_path / "given" / "generators").exists()
    page = (tmp_path / "given" / "utility.html").read_text()
    assert "unaligned" in page
    assert "phantom made by this program" not in page, "the run has a folder of scans"
    kept = json.loads((given / "utility.json").read_text())
    assert kept["generator_step"] == 2
    assert kept["comparisons"] == load(tmp_path / "given")["comparisons"]
    refused = run_utility(tmp_path / "other", f"--run={given}", "--image_size=64")
    assert_refused(refused, "--image_size=64", "32")


def test_a_generator_of_other_subjects_is_refused(experiment, run, tmp_path):
    workdir = tmp_path / "moved"
    shutil.copytree(experiment[0], workdir)
    (workdir / "utility.json").unlink()
    path = workdir / "generators/002_subjects/options.json"
    options = json.loads(path.read_text())
    options["data"]["train_subjects"] = options["data"]["test_subjects"]
    path.write_text(json.dumps(options))
    assert_refused(run("utility", f"--workdir={workdir}"), "other subjects", "--generator_flags")


def write_pairs(folder, names):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in names:
        image = np.zeros((48, 48), np.uint8)
        image[4:-4, 4:-4] = rng.integers(60, 120, (40, 40))
        mask = np.zeros((48, 48), np.uint8)
        mask[20:28, 20:28] = 255
        image[mask > 0] = 250
        Image.fromarray(image).save(folder / "images" / f"{name}_1.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}_1.png")


def test_pairs_made_elsewhere_are_taken(experiment, run_utility, tmp_path):
    write_pairs(tmp_path / "pairs", ["made1", "made2", "made3"])
    finished = run_utility(tmp_path / "ready", f"--pairs_dir={tmp_path / 'pairs'}", "--subjects=1")
    assert finished.status == 0, finished.error
    assert not (tmp_path / "ready" / "generators").exists()
    page = (tmp_path / "ready" / "utility.html").read_text()
    assert "If they were made from held-out subjects" in page


def test_pairs_of_held_out_subjects_are_refused(experiment, run_utility, tmp_path):
    (held_out,) = load(experiment[0])["trainings"][0]["dice"]
    write_pairs(tmp_path / "pairs", [held_out, "other"])
    finished = run_utility(tmp_path / "x", f"--pairs_dir={tmp_path / 'pairs'}", "--subjects=1")
    assert_refused(finished, "--pairs_dir", held_out)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--shares=0.5,1", ("--shares=0.5,1", "below 1")),
        ("--shares=half", ("--shares=half",)),
        ("--shares=0.333,0.334", ("--shares=0.333,0.334", "same in whole percent")),
        ("--generator_flags=--a='b", ("--generator_flags", "No closing quotation")),
        ("--subjects=0", ("--subjects=0", "above 0")),
        ("--subjects=9", ("--subjects=9", "only 2 subjects", "--test_fraction")),
        ("--segmenter_size=40", ("--segmenter_size=40", "multiple of 16")),
        ("--segmenter_size=64", ("--segmenter_size=64", "--image_size=32")),
        ("--pairs_dir=p --run=r", ("--run", "--pairs_dir", "one or the other")),
    ],
)
def test_mistakes_are_named(run_utility, tmp_path, flag, words):
    finished = run_utility(tmp_path / "new", *flag.split())
    assert_refused(finished, *words)
    assert not (tmp_path / "new").exists()


def test_every_flag_is_explained(run):
    assert_every_flag_is_explained("utility", run("utility", "--help").out)

"""The trials run one after the other, failed ones among them, and gone on with."""

import csv
import re
import signal
import sys

import pytest
from PIL import Image
from run_checks import EXPERIMENTS, read_records, wait_for

sys.path.insert(0, str(EXPERIMENTS))

from dcgan_evaluation import leave_out_other_spaces

# 12 slices: too few for a batch of 64.
TINY_TRIALS = (
    "--preset=paper",
    "--subjects=2",
    "--test_subjects=1",
    "--slices=15:20",
    "--image_size=64",
    "--field_of_view_mm=0",
    "--width=1",
    "--discriminator_width=1",
    "--epochs=1",
)


@pytest.fixture(scope="module")
def finished_trials(run, phantom_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trials") / "all"
    flags = (f"--workdir={workdir}", f"--data_dir={phantom_dir}", *TINY_TRIALS)
    return workdir, flags, run("dcgan_trials", *flags, "--trials=base,batch_64,sgd")


def test_trials_are_set_side_by_side_and_a_failed_one_is_named(finished_trials):
    workdir, _, finished = finished_trials
    assert finished.status == 0, finished.error
    with (workdir / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["base", "sgd"]
    assert rows[1]["flags"] == "--optimizer=sgd"
    assert all(float(row["ms_ssim_samples"]) > 0 for row in rows)
    page = (workdir / "trials.html").read_text()
    for words in ("batch_64 did not come to its end", "there are only 12 training slices"):
        assert words in page
    assert re.search(r"batch_64 +failed: .*there are only 12 training slices", finished.out)
    width, height = Image.open(workdir / "trials.png").size
    assert width > height  # eight slices beside each other, three rows
    assert (workdir / "base" / "report.html").exists()


def test_what_is_done_is_not_done_again(run, finished_trials):
    workdir, flags, _ = finished_trials
    times = {name: (workdir / name / "evaluation.json").stat().st_mtime for name in ("base", "sgd")}
    again = run("dcgan_trials", *flags, "--trials=sgd")
    assert again.status == 0, again.error
    assert again.out.count("Done before") == 1
    with (workdir / "trials.csv").open() as file:
        assert [row["trial"] for row in csv.DictReader(file)] == ["base", "sgd"], "none is dropped"
    assert times == {name: (workdir / name / "evaluation.json").stat().st_mtime for name in times}


def test_an_interrupted_trial_goes_on_where_it_was(start, run, phantom_dir, tmp_path):
    workdir = tmp_path / "stopped"
    flags = (f"--workdir={workdir}", f"--data_dir={phantom_dir}", *TINY_TRIALS, "--epochs=12")
    process = start("dcgan_trials", *flags, "--trials=base")
    log = workdir / "base" / "metrics.jsonl"
    wait_for(lambda: log.exists() and read_records(log.parent))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, error
    assert "What is done is kept. To go on:" in error
    assert f"--workdir={workdir}" in error
    done = read_records(log.parent)
    assert not (workdir / "trials.csv").exists()

    again = run("dcgan_trials", *flags, "--trials=base")
    assert again.status == 0, again.error
    assert "Going on from step" in again.out
    assert read_records(log.parent)[: len(done)] == done
    assert read_records(log.parent)[-1]["epoch"] == 12
    assert (workdir / "trials.csv").exists()


def test_distances_in_another_feature_space_are_left_out_and_it_is_said():
    spaces = {"base": "b", "sgd": "a", "lsgan": "b"}
    evaluations = {
        name: {"synthetic": {"feature_space": {"fingerprint": x}}} for name, x in spaces.items()
    }
    full = dict.fromkeys(("kid", "kid_floor", "frechet", "frechet_floor", "grid_ratio"), 1.0)
    rows = {name: dict(full) for name in spaces}
    (note,) = leave_out_other_spaces(rows, evaluations)
    assert "Distances by features of sgd are left out" in note
    assert rows["base"] == rows["lsgan"] == full
    assert rows["sgd"] == dict.fromkeys(full) | {"grid_ratio": 1.0}
    same = {name: evaluations["base"] for name in spaces}
    assert not leave_out_other_spaces(rows, same)


def test_trials_of_one_folder_share_their_options(run, finished_trials):
    _, flags, _ = finished_trials
    other = run("dcgan_trials", *flags, "--trials=base", "--epochs=2")
    assert other.status == 2
    assert "epochs was 1 and is now 2" in other.error
    other = run("dcgan_trials", *flags, "--trials=base", "--data_dir=elsewhere")
    assert other.status == 2
    assert "is now 'elsewhere'" in other.error


def test_a_folder_of_other_things_is_refused(run, tmp_path):
    (tmp_path / "trials.csv").write_text("mine")
    refused = run("dcgan_trials", f"--workdir={tmp_path}")
    assert refused.status == 2
    assert "something else than trials" in refused.error
    assert (tmp_path / "trials.csv").read_text() == "mine"


def test_an_unknown_trial_is_told_with_the_list(run):
    finished = run("dcgan_trials", "--trials=base,adamw")
    assert finished.status == 2
    assert "'adamw' is not in the list of --preset=demo" in finished.error
    assert "rate_0.005" in finished.error


def test_the_list_shows_every_trial_of_the_paper_with_its_flags(run):
    finished = run("dcgan_trials", "--list", "--preset=paper")
    assert finished.status == 0
    flags = set(re.findall(r"--(\S+)", finished.out))
    for wanted in (
        *("batch_size=64", "batch_size=16", "latent_size=100", "latent_size=256"),
        *("activation=relu", "discriminator_activation=leaky_relu", "discriminator_activation=elu"),
        *("output=sigmoid", "dropout=0", "optimizer=sgd", "learning_rate=0.001"),
        *("learning_rate=0.005", "loss=lsgan", "last_layer=none"),
    ):
        assert wanted in flags, wanted
    assert "150 epochs" in finished.out
    assert "dcgan.py --preset=paper --modality=flair" in finished.out
    demo = run("dcgan_trials", "--list").out
    for towards in ("upsample=deconv", "loss=wasserstein", "dropout=0.5", "preset=paper"):
        assert f"--{towards}" in demo

"""The DCGAN script from scans to report, stopped and gone on with, and given bad input."""

import csv
import json
import re
import shutil
import signal
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from conftest import TINY_DCGAN, wait
from PIL import Image
from run_checks import (
    EXPERIMENTS,
    assert_every_flag_is_explained,
    assert_fits_schema,
    assert_refused,
    assert_same_run,
    checkpoint_steps,
    read_records,
    wait_for,
)

from brainsynth_jax.training.run_folder import save_options

sys.path.insert(0, str(EXPERIMENTS))

from dcgan_setup import build_model, count_steps_per_epoch, note_devices

STEP_VALUES = {"step", "epoch", "Gen", "Dis", "score_real", "score_fake", "augment_strength"}
EPOCH_VALUES = {
    *("step", "epoch", "kid", "ms_ssim_samples", "ms_ssim_real", "grid_ratio", "critic_gap_train"),
    *("kid_test", "kid_real", "nearest_ratio", "critic_gap_test"),
}


def read_evaluation(workdir):
    return json.loads((workdir / "evaluation.json").read_text())


def best_step(workdir):
    watched = [record for record in read_records(workdir) if "kid" in record]
    return min(watched, key=lambda record: record["kid"])["step"]


def change_records(workdir, **values):
    """Gives the records of epochs' ends, in order, these values; None leaves one as it is."""
    records = read_records(workdir)
    watched = [record for record in records if "kid" in record]
    for name, changed in values.items():
        for record, value in zip(watched, changed, strict=True):
            record[name] = record[name] if value is None else value
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (workdir / "metrics.jsonl").write_text(lines)


def read_copies(workdir):
    with (workdir / "copies.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def drop_checkpoints(workdir, after):
    for step in checkpoint_steps(workdir):
        if step > after:
            shutil.rmtree(workdir / "checkpoints" / str(step))


@pytest.fixture
def copied(finished_dcgan, tmp_path):
    return shutil.copytree(finished_dcgan[0], tmp_path / "copied")


@pytest.fixture(scope="module")
def shown_help(run):
    finished = run("dcgan", "--help")
    assert finished.status == 0
    return finished.out


def test_a_run_leaves_everything_that_it_promises(finished_dcgan):
    workdir, finished = finished_dcgan
    for words in ("Kernel distance to held-out slices", "Open", "generate.py", str(workdir)):
        assert words in finished.out

    options = json.loads((workdir / "options.json").read_text())
    assert options["flags"]["loss"] == "hinge"
    assert len(options["data"]["train_subjects"]) == 2
    assert len(options["data"]["test_subjects"]) == 1
    assert all(mm > 0 for mm in options["data"]["spacing_mm"])

    records = read_records(workdir)
    for names in (STEP_VALUES, EPOCH_VALUES):
        mine = [record for record in records if record.keys() == names]
        assert [(r["step"], r["epoch"]) for r in mine] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert len(records) == 8

    pictures = ("final.png", "final_beside_real.png", "final_closest.png")
    for name in ("curves.png", "report.html", *(f"samples/{picture}" for picture in pictures)):
        assert (workdir / name).stat().st_size > 1000, name
    for epoch in (1, 2, 3, 4):
        assert (workdir / "samples" / f"epoch_00{epoch}.png").exists()
    with Image.open(workdir / "samples" / "film.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames > 1
    assert list((workdir / "tensorboard").glob("events*"))
    assert "<script" not in (workdir / "report.html").read_text()


def test_evaluation_json_holds_samples_beside_real_slices(finished_dcgan):
    workdir, _ = finished_dcgan
    evaluation = read_evaluation(workdir)
    assert_fits_schema(evaluation)
    assert evaluation["weights"] == "ema"
    assert (evaluation["checkpoint"], evaluation["step"]) == ("best", best_step(workdir))
    synthetic = evaluation["synthetic"]
    assert synthetic["train"]["subjects"] == 2
    assert synthetic["test"]["subjects"] == 1
    for name in ("frechet", "kid"):
        distance = synthetic[name]
        assert distance["value"] > distance["floor"], "noise is further off than real subjects"
        assert distance["images"] == [synthetic["samples"], synthetic["test"]["slices"]]
    assert synthetic["copies"] is not None
    assert "## How good it is" in (workdir / "MODEL_CARD.md").read_text()


def test_every_sample_has_a_row_that_names_the_nearest_subjects(finished_dcgan):
    workdir, _ = finished_dcgan
    rows = read_copies(workdir)
    assert [row["sample"] for row in rows] == [
        str(k) for k in range(read_evaluation(workdir)["synthetic"]["samples"])
    ]
    trained_on = json.loads((workdir / "options.json").read_text())["data"]["train_subjects"]
    for space in ("image", "feature"):
        assert {row[f"{space}_subject"] for row in rows} <= set(trained_on)
        assert all(float(row[f"{space}_distance"]) > 0 for row in rows)
    assert {row["verdict"] for row in rows} == {""}, "one held-out subject is no yardstick"


def test_two_steps_a_new_process_and_two_steps_are_four_steps(run, finished_dcgan, copied):
    """Bit for bit: weights, moments, statistics, average, strength and every logged number."""
    drop_checkpoints(copied, after=2)
    finished = run("dcgan", f"--workdir={copied}")
    assert finished.status == 0, finished.error
    assert "Going on from step 2 of 4" in finished.out
    assert_same_run(copied, finished_dcgan[0], step=4)


def test_two_devices_train_like_one_and_save_when_told_to_stop(
    start_tiny_dcgan, finished_dcgan, tmp_path
):
    workdir = tmp_path / "two"
    process = start_tiny_dcgan(workdir, "--steps_per_epoch=5000", devices=2)
    wait_for(lambda: (workdir / "metrics.jsonl").exists() and len(read_records(workdir)) >= 4)
    process.send_signal(signal.SIGTERM)
    stopped = wait(process)
    assert stopped.status == 128 + signal.SIGTERM, stopped.error
    assert f"Stopped by SIGTERM after step {checkpoint_steps(workdir)[-1]} of" in stopped.out
    assert f"experiments/dcgan.py --workdir={workdir}" in stopped.out

    assert "Devices: 2 x" in stopped.out
    one = [record for record in read_records(finished_dcgan[0]) if "Gen" in record]
    for ours, theirs in zip(one, read_records(workdir), strict=False):
        assert ours | {"epoch": 1} == pytest.approx(theirs, rel=0.01)


def test_a_collapse_ends_the_run_at_once(run, copied):
    change_records(copied, kid=(0.0, None, None, None))  # the best by far, a moment ago
    drop_checkpoints(copied, after=2)
    finished = run("dcgan", f"--workdir={copied}", "--epochs=9", "--stop_on_collapse")
    assert finished.status == 0, finished.error
    assert checkpoint_steps(copied)[-1] == 4
    assert "samples have moved away" in finished.out
    assert f"ends here; --workdir={copied} --nostop_on_collapse goes on" in finished.out
    evaluation = read_evaluation(copied)
    assert evaluation["collapse"]["step"] == 4
    assert evaluation["step"] <= 2, "bad epochs are not the best, whatever their distance"


def test_a_run_that_had_collapsed_is_trained_no_further(run, copied):
    """Nor where it was trained past the collapse, at epoch 3 of 4, before the flag was given."""
    change_records(copied, nearest_ratio=(0.1, 0.1, 0.1, None))
    records, steps = read_records(copied), checkpoint_steps(copied)
    finished = run("dcgan", f"--workdir={copied}", "--epochs=9", "--stop_on_collapse")
    assert finished.status == 0, finished.error
    assert "Nothing is left to train: the run is at step 4" in finished.out
    assert "gone bad by epoch 3" in finished.out
    assert "it copies" in finished.out
    assert (read_records(copied), checkpoint_steps(copied)) == (records, steps)
    evaluation = read_evaluation(copied)
    assert evaluation["step"] == best_step(copied)
    assert evaluation["collapse"]["epoch"] == 3
    assert "it copies" in (copied / "report.html").read_text()


def test_without_held_out_subjects_it_says_what_cannot_be_told(run_tiny_dcgan, tmp_path):
    flags = ("--epochs=1", "--subjects=1", "--test_subjects=0")
    finished = run_tiny_dcgan(tmp_path / "all", *flags)
    assert finished.status == 0, finished.error
    assert "Kernel distance to training slices" in finished.out
    evaluation = read_evaluation(tmp_path / "all")
    assert_fits_schema(evaluation)
    synthetic = evaluation["synthetic"]
    assert synthetic["test"] is synthetic["copies"] is evaluation["critic_gap"]["test"] is None
    assert synthetic["compared_with"] == "train"
    assert synthetic["ms_ssim"]["real"]["mean"] is None, "pairs are of two subjects"
    assert {row["verdict"] for row in read_copies(tmp_path / "all")} == {""}
    assert "No subject is held out" in (tmp_path / "all" / "report.html").read_text()


def test_it_learns_from_plain_pictures(run, tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("trainA", 5), ("trainB", 1), ("testA", 3), ("testB", 1)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 256, (32, 32), np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / name / f"P{number}.png")
    workdir = tmp_path / "run"
    where = (f"--data_dir={tmp_path / 'pictures'}", f"--workdir={workdir}")
    finished = run("dcgan", *where, *TINY_DCGAN, "--epochs=1")
    assert finished.status == 0, finished.error
    assert "train: 5 slices, 5 subjects (trainA/P0.png" in finished.out
    assert "--slices have no say" in finished.out
    evaluation = read_evaluation(workdir)
    synthetic = evaluation["synthetic"]
    assert (synthetic["train"]["slices"], synthetic["test"]["slices"]) == (5, 3)
    options = json.loads((workdir / "options.json").read_text())
    assert options["data"]["spacing_mm"] == [None] * 3


def test_a_dry_run_tells_the_cost_and_writes_no_run(run_tiny_dcgan, tmp_path):
    finished = run_tiny_dcgan(tmp_path / "dry", "--dry_run")
    assert finished.status == 0, finished.error
    for words in ("Estimate:", "s a step", "MiB", "a generator of", "train: 78 slices", "width=1"):
        assert words in finished.out
    assert "batch norms take their statistics from 4 values" in finished.out
    assert not (tmp_path / "dry").exists()


def test_slices_that_scans_do_not_have_are_told(run_tiny_dcgan, tmp_path):
    finished = run_tiny_dcgan(tmp_path / "dry", "--dry_run", "--slices=30:60")
    assert finished.status == 0, finished.error
    assert "31 slices a subject; 3 of 3 subjects have fewer of them" in finished.out
    assert "with 9." in finished.out


def test_help_groups_every_flag(shown_help):
    for words in ("Data\n----", "Generator\n---------", "--latent=uniform|normal", "demo: 70:95"):
        assert words in shown_help
    assert_every_flag_is_explained("dcgan", shown_help)


def test_every_option_of_networks_and_training_builds(shown_help, finished_dcgan):
    flags = json.loads((finished_dcgan[0] / "options.json").read_text())["flags"]
    flags["augment_target"] = 0.0  # goes with some losses only
    groups = shown_help.partition("\nGenerator\n")[2].partition("\nOutput\n")[0]
    choices = dict(re.findall(r"^  --(\w+)=([\w-]+(?:\|[\w-]+)+)$", groups, re.M))
    assert {"upsample", "discriminator_norm", "loss", "optimizer"} < choices.keys()
    for name, options in choices.items():
        for option in options.split("|"):
            chosen = flags | {name: option}
            if option == "wgan-gp":
                chosen["discriminator_norm"] = "layer"
            model = build_model(SimpleNamespace(**chosen), steps_per_epoch=1)
            key, latents = jax.random.key(0), jnp.zeros((2, model.latent_size))
            images, _ = jax.eval_shape(model.generator.init_with_output, key, latents)
            scores, _ = jax.eval_shape(model.discriminator.init_with_output, key, images)
            assert (images.shape, scores.shape) == ((2, 64, 64, 1), (2,)), (name, option)


def test_other_devices_are_told_where_batch_norm_looks_at_each_ones_part():
    each, together = (
        SimpleNamespace(batch_statistics=f"{x}") for x in ("each_device", "all_devices")
    )
    began = {"flags": {"devices": 0}, "devices": ["cpu", "cpu"]}  # all of two
    (note,) = note_devices(each, began, 1)
    assert "has had 2 devices and goes on with 1" in note
    assert "--devices=2" in note
    for options, stored, devices in ((each, began, 2), (each, None, 1), (together, began, 1)):
        assert not note_devices(options, stored, devices)


def test_an_epoch_is_one_pass_however_many_critic_steps():
    dataset = SimpleNamespace(train_a=range(720))
    for critic_steps, expected in ((1, 90), (5, 18), (100, 1)):
        options = SimpleNamespace(steps_per_epoch=0, batch_size=8, critic_steps=critic_steps)
        assert count_steps_per_epoch(options, dataset) == expected


def test_evaluate_gives_the_same_numbers_again(run, finished_dcgan, copied):
    (copied / "evaluation.json").unlink()
    (copied / "report.html").unlink()
    finished = run("evaluate", f"--workdir={copied}")
    assert finished.status == 0, finished.error
    assert read_evaluation(copied) == read_evaluation(finished_dcgan[0])
    assert (copied / "report.html").exists()
    finished = run("evaluate", f"--workdir={copied}", "--checkpoint=last")
    assert finished.status == 0, finished.error
    assert "Last weights, step 4." in finished.out
    evaluation = read_evaluation(copied)
    assert (evaluation["checkpoint"], evaluation["step"]) == ("last", 4)


@pytest.fixture
def save_encoder(tmp_path):
    """save_encoder(name, size): an ONNX file whose features are the picture at that size."""

    def save_encoder(name, size):
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Flatten", ["x"], ["y"])],
            name,
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1, size, size])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        )
        opset = [onnx.helper.make_opsetid("", 17)]
        path = tmp_path / f"{name}.onnx"
        onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=opset), path)
        return path

    return save_encoder


def test_an_encoder_of_ones_own_is_the_space_of_the_whole_run(
    run, run_tiny_dcgan, save_encoder, tmp_path
):
    mine, other = save_encoder("mine", 8), save_encoder("other", 4)
    workdir = tmp_path / "run"
    finished = run_tiny_dcgan(workdir, "--epochs=1", f"--encoder={mine}")
    assert finished.status == 0, finished.error
    space = read_evaluation(workdir)["synthetic"]["feature_space"]
    assert (space["name"], space["dimensions"]) == ("onnx", 64)
    assert "The encoder mine.onnx" in (workdir / "report.html").read_text()
    options = json.loads((workdir / "options.json").read_text())
    assert options["flags"]["encoder"] == str(mine)

    refused = run("dcgan", f"--workdir={workdir}", f"--encoder={other}")
    assert_refused(refused, f"--encoder={other}", options["data"]["encoder"], "new --workdir")
    moved = mine.rename(tmp_path / "moved.onnx")
    assert_refused(run("dcgan", f"--workdir={workdir}"), "mine.onnx", "No such file")
    finished = run("dcgan", f"--workdir={workdir}", f"--encoder={moved}")
    assert finished.status == 0, finished.error

    finished = run("evaluate", f"--workdir={workdir}", f"--encoder={other}")
    assert finished.status == 0, finished.error
    assert read_evaluation(workdir)["synthetic"]["feature_space"]["dimensions"] == 16


def test_a_run_of_before_there_was_the_flag_is_evaluated(run, copied):
    options = json.loads((copied / "options.json").read_text())
    del options["flags"]["encoder"], options["data"]["encoder"]
    (copied / "options.json").write_text(json.dumps(options))
    finished = run("evaluate", f"--workdir={copied}")
    assert finished.status == 0, finished.error


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--encoder=none.onnx", ["--encoder=none.onnx", "No such file", "ONNX file"]),
        ("--slices=200:210", ["--slices=200:210", "slices are 0 to 38", "give some of these"]),
        ("--slices=60-107", ["--slices=60-107", "FIRST:LAST", "60:107", "all"]),
        ("--subjects=9", ["--subjects=9", "has 3", "--subjects=2"]),
        ("--batch_size=100", ["--batch_size=100", "only 78", "smaller batch"]),
        ("--loss=wgan-gp", ["--loss=wgan-gp", "batch norm", "--discriminator_norm=layer"]),
        ("--loss=wasserstein", ["--augment_target=0.6", "wasserstein", "--loss=hinge or lsgan"]),
        ("--augment=none", ["--augment_target=0.6", "--augment names", "shift, flip"]),
        ("--augment=blur", ["--augment=blur", "shift, flip, intensity, cutout", "none"]),
        ("--image_size=96", ["--image_size=96", "power of two", "64 or 128"]),
        ("--image_size=32", ["--image_size=32", "64"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_flags_end_in_one_sentence(run_tiny_dcgan, tmp_path, flag, words):
    assert_refused(run_tiny_dcgan(tmp_path / "run", flag), *words)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_devices_cannot_share_is_refused(run_tiny_dcgan, tmp_path):
    finished = run_tiny_dcgan(tmp_path / "run", "--batch_size=3", devices=2)
    assert_refused(finished, "--batch_size=3", "2 devices", "2 or 4")


def test_a_run_goes_on_with_its_own_options_only(run, finished_dcgan):
    finished = run("dcgan", f"--workdir={finished_dcgan[0]}", "--latent_size=64")
    assert_refused(finished, "--latent_size was 128 and is now 64", "new --workdir")


def test_a_run_of_another_script_is_refused(run, tmp_path):
    save_options(tmp_path, "cyclegan", {}, {})
    finished = run("dcgan", f"--workdir={tmp_path}")
    assert_refused(finished, f"--workdir={tmp_path}", "experiments/cyclegan.py", "another folder")

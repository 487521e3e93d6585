"""The script that draws slices with a trained DCGAN, in every form and from every checkpoint."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from run_checks import assert_refused, checkpoint_steps, load_state

from brainsynth_jax.data.nifti import load_scan, save_slices
from brainsynth_jax.training.run_folder import save_options

COUNT = 5


@pytest.fixture(scope="module")
def draw(run, finished_dcgan, tmp_path_factory):
    """draw(*flags): the folder of slices that the finished run's best weights drew."""

    def draw(*flags, **process):
        folder = tmp_path_factory.mktemp("drawn") / "slices"
        where = (f"--workdir={finished_dcgan[0]}", f"--output_dir={folder}")
        finished = run("generate", *where, "--seed=7", *flags, **process)
        assert finished.status == 0, finished.error
        assert str(folder / "contact_sheet.png") in finished.out
        return folder

    return draw


@pytest.fixture(scope="module")
def drawn(draw):
    return draw("--format=npz", f"--count={COUNT}")


@pytest.fixture(scope="module")
def images(drawn):
    return np.load(drawn / "slices.npz")["images"]


def read_about(folder):
    return json.loads((folder / "generated.json").read_text())


def test_an_npz_holds_values_and_their_seed(drawn, images, finished_dcgan):
    assert images.shape == (COUNT, 64, 64)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1
    assert np.ptp(images, axis=0).max() > 0, "they differ"
    stored = np.load(drawn / "slices.npz")
    assert (stored["seed"], stored["first"]) == (7, 0)
    about = read_about(drawn)
    assert about["run"] == str(finished_dcgan[0])
    assert about["step"] in checkpoint_steps(finished_dcgan[0])
    expected = {"checkpoint": "best", "weights": "ema", "seed": 7, "first": 0, "count": COUNT}
    assert expected.items() <= about.items()
    with Image.open(drawn / "contact_sheet.png") as sheet:
        assert min(sheet.size) >= 64


def test_pngs_show_the_same_slices(draw, images):
    folder = draw(f"--count={COUNT}")
    names = sorted(path.name for path in folder.glob("slice_*.png"))
    assert names == [f"slice_{number:06d}.png" for number in range(COUNT)]
    levels = np.stack([np.asarray(Image.open(folder / name)) for name in names])
    np.testing.assert_allclose(levels, (images + 1) * 127.5, atol=0.51)


def test_a_nifti_is_read_as_the_same_slices(draw, images, finished_dcgan, tmp_path):
    """By the reader of training, which turns a volume so that row 0 is anterior."""
    folder = draw("--format=nifti", f"--count={COUNT}")
    options = json.loads((finished_dcgan[0] / "options.json").read_text())
    spacing_mm = options["data"]["spacing_mm"]
    save_slices(tmp_path / "labels.nii.gz", np.zeros_like(images), spacing_mm)
    scan = load_scan(folder / "slices.nii.gz", tmp_path / "labels.nii.gz", {})
    np.testing.assert_allclose(scan.image, images, atol=1e-6)
    np.testing.assert_allclose(scan.spacing_mm, spacing_mm, rtol=1e-5)


def test_slice_k_is_the_same_whatever_is_drawn_with_it(draw, images):
    flags = ("--format=npz", "--first=3", "--count=2", "--batch_size=2")
    folder = draw(*flags, devices=2)
    np.testing.assert_allclose(np.load(folder / "slices.npz")["images"], images[3:], atol=1e-4)
    assert read_about(folder)["first"] == 3


def test_the_checkpoint_can_be_chosen(draw):
    for checkpoint, step in (("last", 4), ("3", 3)):
        about = read_about(draw(f"--checkpoint={checkpoint}", "--count=1"))
        assert (about["checkpoint"], about["step"]) == (checkpoint, step)


def test_a_wrong_checkpoint_is_refused(run, finished_dcgan):
    workdir = finished_dcgan[0]
    there = str(checkpoint_steps(workdir))
    for checkpoint, words in (("newest", ["--checkpoint=newest", "last, best"]), ("99", ["99"])):
        finished = run("generate", f"--workdir={workdir}", f"--checkpoint={checkpoint}")
        assert_refused(finished, *words, there)


def test_another_latent_size_than_the_checkpoints_is_told(run, finished_dcgan, tmp_path):
    workdir = shutil.copytree(finished_dcgan[0], tmp_path / "edited")
    options = json.loads((workdir / "options.json").read_text())
    options["flags"]["latent_size"] = 64
    (workdir / "options.json").write_text(json.dumps(options))
    for checkpoint in ("best", "last"):
        finished = run("generate", f"--workdir={workdir}", f"--checkpoint={checkpoint}")
        assert_refused(finished, "(128, 128)", "(64, 128)", "options.json")
    finished = run("dcgan", f"--workdir={workdir}")
    assert_refused(finished, "(128, 128)", "(64, 128)", "options.json")
    assert load_state(workdir, 4), "nothing was moved or deleted"


def test_nothing_is_overwritten(run, drawn, finished_dcgan):
    before = (drawn / "slices.npz").read_bytes()
    finished = run("generate", f"--workdir={finished_dcgan[0]}", f"--output_dir={drawn}")
    assert_refused(finished, str(drawn), "nothing is overwritten", "--output_dir")
    assert (drawn / "slices.npz").read_bytes() == before


def test_a_folder_that_holds_no_dcgan_is_refused(run, tmp_path):
    assert_refused(run("generate"), "--workdir is needed")
    assert_refused(run("generate", f"--workdir={tmp_path / 'no'}"), "holds no run")
    (tmp_path / "notes.txt").write_text("")
    assert_refused(run("generate", f"--workdir={tmp_path}"), "holds no run")
    save_options(tmp_path / "other", "cyclegan", {}, {})
    assert_refused(run("generate", f"--workdir={tmp_path / 'other'}"), "run of cyclegan", "dcgan")

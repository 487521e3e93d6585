"""The script that draws images with a finished run into a catalogue, and makes them again."""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from run_checks import assert_refused, checkpoint_steps, load_state

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.data.masks import TUMOR, is_tumor
from brainsynth_jax.training.run_folder import save_options

COUNT = 5


def open_catalogue(folder):
    return Catalogue(f"{folder}/made.sqlite", folder / "made_images")


def load_all(folder):
    """Rows and images of a catalogue, in the order in which they came."""
    catalogue = open_catalogue(folder)
    rows = catalogue.find()
    pixels = [catalogue.load(row) for row in rows]
    catalogue.close()
    return rows, pixels


@pytest.fixture(scope="module")
def generate(run):
    """generate(folder, *flags): what the script said that used the catalogue in the folder."""

    def generate(folder, *flags, **process):
        return run("generate", f"--database={folder}/made.sqlite", *flags, **process)

    return generate


@pytest.fixture(scope="module")
def draw(generate, finished_dcgan, tmp_path_factory):
    """draw(*flags): the folder of a catalogue of what the finished DCGAN drew."""

    def draw(*flags, workdir=finished_dcgan[0], **process):
        folder = tmp_path_factory.mktemp("catalogue")
        finished = generate(folder, f"--workdir={workdir}", "--seed=7", *flags, **process)
        assert finished.status == 0, finished.error
        return folder

    return draw


@pytest.fixture(scope="module")
def drawn(draw):
    """A catalogue of a DCGAN's slices."""
    return draw(f"--count={COUNT}")


@pytest.fixture(scope="module")
def images(drawn):
    return np.stack([pixels.image for pixels in load_all(drawn)[1]])


@pytest.fixture(scope="module")
def pairs(draw, finished_run):
    """A catalogue of a CycleGAN's pairs."""
    return draw(f"--count={COUNT}", workdir=finished_run[0])


def test_a_dcgans_slices_come_with_all_that_made_them(drawn, images, finished_dcgan):
    rows, pixels = load_all(drawn)
    workdir = finished_dcgan[0]
    assert images.shape == (COUNT, 64, 64)
    assert np.ptp(images.astype(int), axis=0).max() > 0, "they differ"
    assert [(row.seed, row.number) for row in rows] == [(7, number) for number in range(COUNT)]
    assert all(one.mask is None for one in pixels)
    options = json.loads((workdir / "options.json").read_text())
    origin = rows[0].origin
    assert (origin.model, origin.run) == ("dcgan", str(workdir))
    assert origin.step in checkpoint_steps(workdir)
    assert origin.options["flags"] == options["flags"]
    assert origin.data_fingerprint == options["data"]["fingerprint"]
    assert origin.spacing_mm == options["data"]["spacing_mm"]
    assert len(origin.subjects) == len(options["data"]["train_subjects"])
    assert not set(origin.subjects) & set(options["data"]["train_subjects"]), "hashed"
    assert origin.code_version.startswith("0.")
    for row in rows:
        assert row.realism >= 0
        assert 0 < row.copy_distance < 2
        assert row.copy_verdict is None, "a single subject is held out"
        assert row.tumor_pixels is None


def test_realism_is_told_beside_that_of_real_slices(generate, finished_dcgan, tmp_path):
    finished = generate(tmp_path, f"--workdir={finished_dcgan[0]}", "--count=3")
    told = re.search(r"Realism (\S+) in the median, of held-out slices (\S+)\.", finished.out)
    rows, _ = load_all(tmp_path)
    assert float(told[1]) == pytest.approx(np.median([row.realism for row in rows]), abs=0.01)
    assert float(told[2]) > 0


def test_the_first_are_shown(drawn, finished_dcgan):
    (row, *_), _ = load_all(drawn)
    name = f"dcgan-step-{row.origin.step}-seed-7-images-0-{COUNT - 1}.png"
    with Image.open(finished_dcgan[0] / "generated" / name) as sheet:
        assert min(sheet.size) >= 64


def test_a_cyclegans_slices_come_with_their_masks(pairs, finished_run):
    rows, pixels = load_all(pairs)
    assert rows[0].origin.model == "cyclegan-ba"
    for row, (image, mask) in zip(rows, pixels, strict=True):
        assert image.shape == mask.shape == (32, 32)
        assert set(np.unique(mask)) <= {0, 1, TUMOR}, "the run saw whole tumours only"
        assert row.tumor_pixels == is_tumor(mask).sum() > 0
        inside = np.argwhere(is_tumor(mask)).mean(axis=0) + 0.5
        np.testing.assert_allclose([row.tumor_row, row.tumor_column], inside / 32)
    assert len({one.mask.tobytes() for one in pixels}) == COUNT


def test_proposals_are_masks_of_patients_slices_and_never_pass_for_synthetic(draw, finished_run):
    rows, pixels = load_all(draw("--count=3", "--direction=ab", workdir=finished_run[0]))
    assert {row.origin.model for row in rows} == {"cyclegan-ab"}
    assert {(row.copy_verdict, row.copy_distance) for row in rows} == {("suspicious", 0.0)}
    assert all(set(np.unique(one.mask)) <= {0, TUMOR} for one in pixels)


def test_there_are_no_more_proposals_than_slices(generate, finished_run, tmp_path):
    where = (f"--workdir={finished_run[0]}", "--direction=ab")
    finished = generate(tmp_path, *where, "--count=9999")
    assert_refused(finished, "--count=9999", "slices", "at most")


def test_image_k_is_the_same_whatever_is_drawn_with_it(draw, images, pairs, finished_run):
    flags = ("--skip_scores", "--first=3", "--count=2")
    rows, pixels = load_all(draw(*flags))
    assert [row.number for row in rows] == [3, 4]
    assert rows[0].realism is None
    np.testing.assert_array_equal([one.image for one in pixels], images[3:])
    _, again = load_all(draw(*flags, workdir=finished_run[0]))
    for one, other in zip(again, load_all(pairs)[1][3:], strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
    _, spread = load_all(draw(*flags, "--batch_size=2", devices=2))
    for one, other in zip(spread, images[3:], strict=True):
        np.testing.assert_allclose(one.image.astype(int), other, atol=1)


def test_what_is_there_is_not_drawn_in_twice(generate, draw, finished_dcgan):
    folder, where = draw("--count=3"), (f"--workdir={finished_dcgan[0]}", "--seed=7")
    finished = generate(folder, *where, "--count=4")
    assert finished.status == 0, finished.error
    assert "1 new" in finished.out
    assert "3 were there already" in finished.out
    assert len(load_all(folder)[0]) == 4


def test_the_checkpoint_can_be_chosen(draw):
    for checkpoint, step in (("last", 4), ("3", 3)):
        rows, _ = load_all(draw(f"--checkpoint={checkpoint}", "--count=1", "--skip_scores"))
        assert rows[0].origin.step == step


@pytest.mark.parametrize("kind", ["drawn", "pairs"])
def test_an_image_can_be_made_again(generate, kind, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "copy")
    catalogue = open_catalogue(folder)
    row = catalogue.get(4)
    before = catalogue.load(row)
    finished = generate(folder, "--reproduce=4", f"--output_dir={tmp_path / 'again'}")
    assert finished.status == 0, finished.error
    assert row.content_hash in finished.out
    assert "put back" not in finished.out
    with Image.open(tmp_path / "again/000004.png") as picture:
        np.testing.assert_array_equal(picture, before.image)
    refused = generate(folder, "--reproduce=4", f"--output_dir={tmp_path / 'again'}")
    assert_refused(refused, "000004.png", "nothing is overwritten")

    for path in folder.glob("made_images/*/7/000003*.png"):
        path.write_bytes(path.read_bytes()[:50])
    finished = generate(folder, "--reproduce=4")
    assert "put back" in finished.out
    np.testing.assert_equal(catalogue.load(row), before)
    catalogue.close()


def test_an_image_of_other_weights_is_not_made_again(generate, drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "copy")
    with closing(sqlite3.connect(folder / "made.sqlite")) as database, database:
        database.execute("UPDATE origins SET checkpoint_hash = 'another'")
    assert_refused(generate(folder, "--reproduce=1"), "Image 1", "other weights", "--workdir")
    assert_refused(generate(folder, "--reproduce=77"), "77")


def test_an_image_that_comes_out_differently_is_told(generate, drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "copy")
    with closing(sqlite3.connect(folder / "made.sqlite")) as database, database:
        database.execute("UPDATE images SET seed = 8 WHERE id = 1")
    for path in folder.glob("made_images/*/7"):
        path.rename(path.with_name("8"))
    finished = generate(folder, "--reproduce=1")
    assert_refused(finished, "Image 1", "differently", "pixels by up to", "version")


def test_a_wrong_checkpoint_is_refused(generate, finished_dcgan, tmp_path):
    workdir = finished_dcgan[0]
    there = str(checkpoint_steps(workdir))
    for checkpoint, words in (("newest", ["--checkpoint=newest", "last, best"]), ("99", ["99"])):
        finished = generate(tmp_path, f"--workdir={workdir}", f"--checkpoint={checkpoint}")
        assert_refused(finished, *words, there)


def test_another_latent_size_than_the_checkpoints_is_told(run, generate, finished_dcgan, tmp_path):
    workdir = shutil.copytree(finished_dcgan[0], tmp_path / "edited")
    options = json.loads((workdir / "options.json").read_text())
    options["flags"]["latent_size"] = 64
    (workdir / "options.json").write_text(json.dumps(options))
    for checkpoint in ("best", "last"):
        finished = generate(tmp_path, f"--workdir={workdir}", f"--checkpoint={checkpoint}")
        assert_refused(finished, "(128, 128)", "(64, 128)", "options.json")
    finished = run("dcgan", f"--workdir={workdir}")
    assert_refused(finished, "(128, 128)", "(64, 128)", "options.json")
    assert load_state(workdir, 4), "nothing was moved or deleted"


def test_a_folder_that_holds_no_such_run_is_refused(generate, finished_dcgan, tmp_path):
    assert_refused(generate(tmp_path), "--workdir is needed")
    assert_refused(generate(tmp_path, f"--workdir={tmp_path / 'no'}"), "holds no run")
    (tmp_path / "notes.txt").write_text("")
    assert_refused(generate(tmp_path, f"--workdir={tmp_path}"), "holds no run")
    save_options(tmp_path / "other", "benchmark", {}, {})
    assert_refused(generate(tmp_path, f"--workdir={tmp_path / 'other'}"), "run of benchmark")
    finished = generate(tmp_path, f"--workdir={finished_dcgan[0]}", "--direction=ab")
    assert_refused(finished, "--direction=ab", "DCGAN")
    finished = generate(tmp_path, f"--workdir={finished_dcgan[0]}", "--output_dir=made")
    assert_refused(finished, "--output_dir", "export.py")
    assert_refused(generate(tmp_path, "--reproduce=1", "--seed=3"), "--seed", "the image's row")
    finished = generate(tmp_path, "--reproduce=1")
    assert_refused(finished, "made.sqlite", "not there", "generate.py")

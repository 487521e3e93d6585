"""The script that writes images of a catalogue as files."""

import csv

import numpy as np
import pytest
from PIL import Image
from run_checks import assert_refused

from brainsynth_jax.catalogue.catalogue import Catalogue, NewImage, Origin, Scores
from brainsynth_jax.catalogue.image_files import Pixels

SIZE = 64
ORIGIN = Origin(
    model="dcgan",
    run="runs/dcgan-001",
    step=10,
    checkpoint_hash="c" * 64,
    code_version="0.1.0",
    options={"flags": {"modality": "flair"}, "drawing": {}},
    data_fingerprint="f" * 64,
    subjects=["a" * 64],
    spacing_mm=[None, None, None],
)


def make_image(number, **scores):
    image = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), np.uint8)
    return NewImage(0, number, Pixels(image), Scores(**scores))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Of 1 to 4: all but the first are realistic, 3 is a suspected copy, 4 was not compared."""
    folder = tmp_path_factory.mktemp("catalogue")
    catalogue = Catalogue(str(folder / "made.sqlite"), folder / "made_images")
    images = [
        make_image(0, realism=0.5, copy_verdict="fresh"),
        make_image(1, realism=1.5, copy_verdict="near"),
        make_image(2, realism=1.5, copy_verdict="suspicious"),
        make_image(3, realism=1.5),
    ]
    assert sum(catalogue.add(ORIGIN, images)) == 4
    catalogue.close()
    return folder / "made.sqlite"


@pytest.fixture
def export(run, database):
    """export(*flags): what the script said of the catalogue."""
    return lambda *flags: run("export", f"--database={database}", *flags, cache=None)


def test_the_images_that_may_leave_are_written_and_the_others_told(export, database, tmp_path):
    folder = tmp_path / "out"
    finished = export(f"--output_dir={folder}", "--least_realism=1", "--label_share=1")
    assert finished.status == 0, finished.error
    for words in (
        f"{folder}: 2 images, 0 with a mask.",
        "Without a verdict on copies, by --skip_scores or for too few held-out subjects: 1.",
        "With the word SYNTHETIC in the pixels: 2.",
        "Kept out: 1 (suspected copies of training slices; --include_suspected_copies",
    ):
        assert words in finished.out
    with (folder / "images.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["2", "4"]
    catalogue = Catalogue(str(database), database.with_name("made_images"))
    kept = catalogue.load(catalogue.get(2)).image
    catalogue.close()
    left = np.asarray(Image.open(folder / "images/000002.png"))
    np.testing.assert_array_equal(left[:50], kept[:50])
    assert "* least_realism: 1.0" in (folder / "README.md").read_text()
    assert_refused(
        export(f"--output_dir={folder}"), "--output_dir", "nothing is overwritten", str(folder)
    )


def test_what_cannot_be_done_is_told_and_leaves_nothing(export, run, tmp_path):
    assert_refused(export(), "--output_dir is needed")
    where = f"--output_dir={tmp_path / 'out'}"
    assert_refused(export(where, "--format=brats"), "No image", "Kept out: 3", "without a mask")
    nowhere = run("export", f"--database={tmp_path}/no.sqlite", where, cache=None)
    assert_refused(nowhere, "no.sqlite is not there")
    assert not list(tmp_path.glob("out*"))


def test_a_folder_that_cannot_be_replaced_is_refused_before_any_work(run, database, tmp_path):
    (tmp_path / "here").mkdir()
    where = (f"--database={database}", "--output_dir=.")
    finished = run("export", *where, cache=None, cwd=tmp_path / "here")
    assert_refused(finished, "--output_dir=.", "Name a new folder")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    finished = run("export", where[0], f"--output_dir={tmp_path / 'link'}", cache=None)
    assert finished.status == 0, finished.error
    assert (tmp_path / "empty/images.csv").is_file()

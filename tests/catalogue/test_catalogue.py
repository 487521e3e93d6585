"""What comes into a catalogue stays, is found, and is told when it was altered."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from made_images import ORIGIN, add, make_image, make_images

from brainsynth_jax.catalogue import catalogue as catalogue_module
from brainsynth_jax.catalogue.catalogue import Catalogue, Origin
from brainsynth_jax.catalogue.database import connect
from brainsynth_jax.catalogue.filters import Filter
from brainsynth_jax.catalogue.image_files import Pixels, content_hash
from brainsynth_jax.catalogue.tables import Base
from brainsynth_jax.errors import UserError


@pytest.fixture
def opened(url, tmp_path):
    """opened(): the catalogue, each time anew as by another process."""
    made = []

    def opened():
        made.append(Catalogue(url, tmp_path / "images"))
        return made[-1]

    yield opened
    for catalogue in made:
        catalogue.close()


def test_what_comes_in_is_there_for_the_next(opened):
    images = [make_image(0), make_image(1, masked=True, realism=1.5, copy_verdict="near")]
    assert add(opened(), images) == 2
    catalogue = opened()
    rows = catalogue.find()
    assert [(row.seed, row.number, row.has_mask) for row in rows] == [(0, 0, False), (0, 1, True)]
    assert (rows[1].realism, rows[1].copy_verdict) == (1.5, "near")
    for row, image in zip(rows, images, strict=True):
        found = catalogue.load(row)
        np.testing.assert_array_equal(found.image, image.pixels.image)
        np.testing.assert_equal(found.mask, image.pixels.mask)
    kept = {name: getattr(rows[0].origin, name) for name in Origin._fields}
    assert Origin(**kept) == ORIGIN


def test_images_are_found_from_either_end_and_by_their_numbers(opened):
    catalogue = opened()
    add(catalogue, make_images(9))

    def ids(**settings):
        return [row.id for row in catalogue.find(**settings)]

    assert ids(after=3, limit=2) == [4, 5]
    assert ids(before=4, limit=2) == [2, 3]
    assert ids(before=1) == []
    wanted = Filter(numbers=[(2, 2), (4, 6), (9, 9), (50, 60)])
    assert ids(wanted=wanted) == [2, 4, 5, 6, 9]
    assert catalogue.count(wanted) == 5
    assert [row.id for row in catalogue.each(wanted)] == [2, 4, 5, 6, 9]
    assert catalogue.runs() == ["runs/dcgan-001"]


def test_what_is_missing_or_altered_can_be_put_back(opened):
    catalogue = opened()
    images = [make_image(0, masked=True), make_image(1, masked=True)]
    add(catalogue, images)
    first, second = catalogue.find()
    assert not catalogue.put_back(first, images[0].pixels)
    for path in catalogue.folder.glob("*/0/*-mask.png"):
        path.unlink()
    assert catalogue.put_back(first, images[0].pixels)
    np.testing.assert_equal(catalogue.load(first), images[0].pixels)
    with pytest.raises(ValueError, match="other pixels"):
        catalogue.put_back(second, images[0].pixels)


def test_an_image_comes_in_once(opened, monkeypatch):
    monkeypatch.setattr(catalogue_module, "_BATCH", 4)
    catalogue = opened()
    assert list(catalogue.add(ORIGIN, make_images(6))) == [4, 2]
    assert list(catalogue.add(ORIGIN, make_images(9))) == [0, 2, 1]
    assert add(catalogue, make_images(2, seed=1)) == 2
    assert add(catalogue, make_images(2), ORIGIN._replace(step=20)) == 2
    assert catalogue.count() == 13


def test_pages_of_images_follow_each_other(opened):
    catalogue = opened()
    add(catalogue, make_images(10))
    first = catalogue.find(limit=4)
    second = catalogue.find(after=first[-1].id, limit=4)
    assert [row.number for row in first + second] == list(range(8))


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [0, 1, 2, 3]),
        (Filter(model="dcgan"), [0, 1, 2]),
        (Filter(model="cyclegan-ba", run="runs/cyclegan"), [3]),
        (Filter(run="elsewhere"), []),
        (Filter(verdicts=["fresh", "near"]), [0, 1]),
        (Filter(verdicts=["suspicious"]), [2]),
        (Filter(verdicts=[None]), [3]),
        (Filter(verdicts=["fresh", None]), [0, 3]),
        (Filter(least_realism=1.0), [1, 2]),
        (Filter(least_tumor=10, most_tumor=20), [1, 2]),
        (Filter(rows=(0.5, 1), columns=(0, 0.5)), [2]),
        (Filter(review="artefact"), [1]),
        (Filter(review="none"), [0, 2, 3]),
        (Filter(verdicts=["fresh"], least_realism=1.0), []),
    ],
)
def test_images_are_chosen_by_what_is_known_of_them(opened, wanted, numbers):
    catalogue = opened()
    images = [
        make_image(0, copy_verdict="fresh", realism=0.9, tumor_pixels=5),
        make_image(1, copy_verdict="near", realism=1.0, tumor_pixels=10),
        make_image(
            2,
            copy_verdict="suspicious",
            realism=1.1,
            tumor_pixels=20,
            tumor_row=0.6,
            tumor_column=0.4,
        ),
    ]
    add(catalogue, images)
    other = ORIGIN._replace(model="cyclegan-ba", run="runs/cyclegan")
    add(catalogue, [make_image(3)], other)
    catalogue.review(2, "R1", "artefact", "a stripe")
    assert [row.number for row in catalogue.find(wanted)] == numbers
    assert catalogue.count(wanted) == len(numbers)


def test_reviews_are_kept_one_after_the_other(opened):
    catalogue = opened()
    add(catalogue, make_images(1))
    note = "'; DROP TABLE images; -- <script>alert(1)</script> \N{BRAIN}"
    catalogue.review(1, "R1", "good")
    catalogue.review(1, "R2", "implausible", note)
    reviews = opened().get(1).reviews
    assert [(r.reviewer, r.verdict, r.note) for r in reviews] == [
        ("R1", "good", ""),
        ("R2", "implausible", note),
    ]
    for bad in [("R1", "fine"), (" ", "good"), ("R" * 101, "good"), ("R1", "good", "n" * 2001)]:
        with pytest.raises(UserError, match="review"):
            catalogue.review(1, *bad)
    with pytest.raises(UserError, match="Image 7 is not in"):
        catalogue.review(7, "R1", "good")


def test_a_file_that_was_altered_or_lost_is_told(opened, tmp_path):
    catalogue = opened()
    add(catalogue, make_images(2))
    first, second = sorted((tmp_path / "images").rglob("*.png"))
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match=r"Image 1 .*altered.*--reproduce=1"):
        catalogue.load(catalogue.get(1))
    first.unlink()
    with pytest.raises(UserError, match=r"000000\.png: this image is missing"):
        catalogue.load(catalogue.get(1))
    first.write_bytes(b"")
    with pytest.raises(UserError, match=r"000000\.png"):
        catalogue.load(catalogue.get(1))
    catalogue.load(catalogue.get(2))


def test_the_hash_tells_pixels_shapes_and_masks_apart():
    image = np.zeros((4, 4), np.uint8)
    seen = [
        Pixels(image),
        Pixels(image + 1),
        Pixels(image.reshape(2, 8)),
        Pixels(image, image),
        Pixels(image, image + 1),
    ]
    assert len({content_hash(pixels) for pixels in seen}) == len(seen)


def kill_while_writing(url, folder, images_before):
    """Adds images in batches of 4, and is killed in the middle of one."""
    catalogue_module._BATCH = 4
    save = catalogue_module.save_pixels
    saved = []

    def save_some(*arguments):
        if len(saved) == images_before:
            os.kill(os.getpid(), signal.SIGKILL)
        saved.append(save(*arguments))

    catalogue_module.save_pixels = save_some
    add(Catalogue(url, folder), make_images(100))


def in_processes(function, *each):
    started = [multiprocessing.get_context("spawn").Process(target=function, args=a) for a in each]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def files_and_rows(catalogue):
    files = sorted(p.relative_to(catalogue.folder) for p in catalogue.folder.rglob("*.png"))
    rows = catalogue.find(limit=10_000)
    return [str(file) for file in files], sorted(
        f"{row.batch.folder}/{row.seed}/{row.number:06d}.png" for row in rows
    )


def test_a_killed_writer_leaves_no_row_without_its_file_and_no_file_without_its_row(
    opened, url, tmp_path
):
    folder = tmp_path / "images"
    assert in_processes(kill_while_writing, (url, folder, 10)) == [-signal.SIGKILL]
    assert len(list(folder.rglob("*.png"))) == 10
    files, rows = files_and_rows(opened())
    assert files == rows
    assert len(files) == 8
    assert add(opened(), make_images(12)) == 4


def test_what_a_living_process_writes_is_left_alone(opened, monkeypatch):
    writing, go_on = threading.Event(), threading.Event()
    save = catalogue_module.save_pixels

    def wait_in_between(*arguments):
        save(*arguments)
        writing.set()
        assert go_on.wait(60)

    monkeypatch.setattr(catalogue_module, "save_pixels", wait_in_between)
    catalogue = opened()
    writer = threading.Thread(target=add, args=(catalogue, make_images(1)))
    writer.start()
    assert writing.wait(60)
    other = opened()
    go_on.set()
    writer.join()
    assert other.count() == 1
    other.load(other.get(1))


def add_some(url, folder, seeds):
    catalogue = Catalogue(url, folder)
    catalogue_module._BATCH = 5
    for seed in seeds:
        add(catalogue, make_images(20, seed=seed))


def test_writers_at_once_lose_nothing_and_bring_nothing_twice(opened, url, tmp_path):
    folder = tmp_path / "images"
    both = [(url, folder, range(8)), (url, folder, reversed(range(8)))]
    both = [(u, f, list(seeds)) for u, f, seeds in both]
    assert in_processes(add_some, *both) == [0, 0]
    catalogue = opened()
    assert catalogue.count() == 160
    files, rows = files_and_rows(catalogue)
    assert files == rows


def test_files_of_another_catalogue_in_the_same_folder_stay(opened, tmp_path):
    add(opened(), make_images(3))
    other = Catalogue(str(tmp_path / "other.sqlite"), tmp_path / "images")
    assert other.count() == 0
    other.close()
    catalogue = opened()
    for row in catalogue.find():
        catalogue.load(row)


def test_a_full_disk_is_told_and_leaves_nothing(opened, monkeypatch):
    catalogue = opened()

    def refuse(folder, number, pixels):
        raise UserError(f"{folder} could not be written (No space left on device).")

    monkeypatch.setattr(catalogue_module, "save_pixels", refuse)
    with pytest.raises(UserError, match="No space left"):
        add(catalogue, make_images(3))
    assert files_and_rows(catalogue) == ([], [])
    assert [path.name for path in catalogue.folder.iterdir()] == [".lock"]


def test_migrations_make_the_tables_that_the_code_knows(opened, url):
    opened()
    with connect(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_database_of_a_newer_version_is_refused(opened, url):
    add(opened(), make_images(1))
    with connect(url).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match=r"newer version.*version 9999.*up to 0001"):
        opened()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x", "no database's URL"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/x", r"\*\*\*@127.0.0.1:1/x|pip install"),
        ("sqlite:////proc/nowhere/x.sqlite", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path, url, words):
    with pytest.raises(UserError, match=words) as raised:
        Catalogue(url, tmp_path / "images")
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.sqlite").write_text("not a database, and long enough to be looked at" * 30)
    with pytest.raises(UserError, match="not a database"):
        Catalogue(str(tmp_path / "x.sqlite"), tmp_path / "images")


def test_a_hundred_thousand_rows_are_searched_in_a_tenth_of_a_second(opened, url):
    catalogue = opened()
    add(catalogue, [make_image(0)])
    rng = np.random.default_rng(0)
    names = ("seed", "number", "realism", "verdict", "tumor", "row", "column")
    rows = [
        dict(zip(names, values, strict=True))
        for values in zip(
            [1] * 100_000,
            range(100_000),
            rng.uniform(0, 2, 100_000).tolist(),
            rng.choice(["fresh", "near", "suspicious"], 100_000).tolist(),
            rng.integers(0, 3000, 100_000).tolist(),
            *rng.uniform(0, 1, (2, 100_000)).tolist(),
            strict=True,
        )
    ]
    statement = """INSERT INTO images (origin_id, batch_id, seed, number, content_hash, has_mask,
        realism, copy_verdict, tumor_pixels, tumor_row, tumor_column) VALUES (1, 1, :seed, :number,
        'x', FALSE, :realism, :verdict, :tumor, :row, :column)"""
    with connect(url).begin() as connection:
        connection.execute(sa.text(statement), rows)
    for wanted in (
        Filter(),
        Filter(model="dcgan", verdicts=["fresh"], least_realism=1.0, least_tumor=100),
        Filter(rows=(0.2, 0.4), columns=(0.2, 0.4), review="none"),
        Filter(review="good"),
    ):
        for query in (catalogue.count, catalogue.find):
            seconds = []
            for _ in range(3):
                started = time.perf_counter()
                query(wanted)
                seconds.append(time.perf_counter() - started)
            assert min(seconds) < 0.1, (wanted, query)

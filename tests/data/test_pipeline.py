import itertools

import numpy as np
import pytest

from brainsynth_jax.data import pipeline
from brainsynth_jax.data.masks import decode_tumor, is_tumor, render_mask
from brainsynth_jax.data.pipeline import (
    WHOLE,
    Part,
    limit_pairs,
    limit_subjects,
    load_images,
    load_slices,
    make_batches,
    make_image_batches,
)
from brainsynth_jax.data.prepared import prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError

STYLE = ("tumor_in_brain", "classes")


@pytest.fixture
def dataset(make_brats, tmp_path):
    options = SliceOptions(image_size=24, min_tumor_area_pixels=5, test_fraction=0.25)
    return prepare_slices(recognise(make_brats(), "flair"), options, tmp_path / "cache", False)


@pytest.fixture
def draw(dataset):
    """draw(count, batch_size, seed, ...): that many batches."""

    def draw(count, batch_size=1, seed=0, data=dataset, **options):
        batches = make_batches(data, *STYLE, batch_size, seed, **options)
        drawn = list(itertools.islice(batches, count))
        batches.close()
        return drawn

    return draw


def indices_of(batches, name, records, picture):
    """Which record each picture in the batches is."""
    known = {picture(record).tobytes(): index for index, record in enumerate(records)}
    assert len(known) == len(records)
    return [known[image.tobytes()] for batch in batches for image in batch[name]]


def as_a(record):
    return record["image"].astype(np.float32) / np.float32(127.5) - 1


def as_b(record):
    return render_mask(record["tissue"], *STYLE)


def test_a_batch_is_what_the_step_expects(draw):
    (batch,) = draw(1, batch_size=5)
    for name in ("image_a", "image_b"):
        assert batch[name].shape == (5, 24, 24, 1)
        assert batch[name].dtype == np.float32
        assert batch[name].min() == -1
        assert batch[name].max() <= 1
    assert batch["index"].tolist() == [0, 1, 2, 3, 4]
    assert batch["index"].dtype == np.int32


def test_every_pass_takes_each_once_in_a_new_order_of_its_own(draw, dataset):
    batches = draw(9, batch_size=3)
    a = np.reshape(indices_of(batches, "image_a", dataset.train_a, as_a), (3, 9))
    b = np.reshape(indices_of(batches, "image_b", dataset.train_a, as_b), (3, 9))
    for order in (*a, *b):
        assert sorted(order) == list(range(9))
    assert len({tuple(order) for order in (*a, *b)}) == 6


@pytest.mark.parametrize("count", [2, 3])
def test_processes_read_their_parts_of_the_same_batches(draw, dataset, count):
    """Joined, they are what one process reads: each slice once a pass, by one of them."""

    def draw_images(part=WHOLE):
        batches = make_image_batches(dataset.train_a, 6, seed=3, part=part)
        drawn = list(itertools.islice(batches, 5))
        batches.close()
        return drawn

    parts = [Part(index, count) for index in range(count)]
    for whole, split in (
        (draw(5, 6, seed=3), [draw(5, 6, seed=3, part=part) for part in parts]),
        (draw_images(), [draw_images(part) for part in parts]),
    ):
        for batch, own in zip(whole, zip(*split, strict=True), strict=True):
            for name, expected in batch.items():
                assert len(own[0][name]) == 6 // count
                np.testing.assert_array_equal(np.concatenate([o[name] for o in own]), expected)


@pytest.mark.parametrize("start_step", [1, 5, 12])
def test_starting_later_gives_what_would_have_come(draw, start_step):
    whole = draw(16, batch_size=2)
    rest = draw(16 - start_step, batch_size=2, start_step=start_step)
    for one, other in zip(whole[start_step:], rest, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_seed_decides_the_order(draw, dataset):
    orders = {
        tuple(indices_of(draw(9, seed=seed), "image_a", dataset.train_a, as_a))
        for seed in (0, 0, 1, 2)
    }
    assert len(orders) == 3


def test_a_cap_chooses_the_same_slices_for_both_domains(draw, dataset):
    four = limit_pairs(dataset, 4, 0, seed=0)
    batches = draw(12, data=four)
    a = indices_of(batches, "image_a", dataset.train_a, as_a)
    b = indices_of(batches, "image_b", dataset.train_a, as_b)
    assert len(set(a)) == 4
    assert set(a) == set(b)
    others = draw(12, data=limit_pairs(dataset, 4, 0, seed=1))
    assert set(indices_of(others, "image_a", dataset.train_a, as_a)) != set(a)


def test_a_cap_leaves_what_is_looked_at_among_what_is_trained_on(draw, dataset):
    five = limit_pairs(dataset, 5, 2, seed=0)
    trained = {image.tobytes() for batch in draw(10, data=five) for image in batch["image_a"]}
    looked_at = load_slices(five.train_a, True, *STYLE, limit=3, seed=0)
    assert len(trained) == 5
    assert {image.tobytes() for image in looked_at.image} < trained
    assert len(five.test_a) == len(five.test_b) == 2
    assert limit_pairs(dataset, 0, 0, seed=0).train_a.subjects.tolist() == (
        dataset.train_a.subjects.tolist()
    )


def test_fewer_subjects_are_among_more_and_the_held_out_ones_stay(dataset):
    chosen = {}
    for count in (1, 2, 3):
        fewer = limit_subjects(dataset, count, seed=0)
        chosen[count] = set(fewer.train_a.subjects)
        assert len(chosen[count]) == count
        assert fewer.train_b is fewer.train_a
        assert set(fewer.train_subjects) == chosen[count]
        assert fewer.test_subjects == dataset.test_subjects
        assert len(fewer.test_a) == len(dataset.test_a)
        kept = np.isin(dataset.train_a.subjects, list(chosen[count])).sum()
        assert len(fewer.train_a) == kept, "with all their slices"
    assert chosen[1] < chosen[2] < chosen[3]
    assert limit_subjects(dataset, 0, seed=0).train_subjects == dataset.train_subjects
    firsts = {limit_subjects(dataset, 1, seed).train_subjects for seed in range(9)}
    assert len(firsts) > 1


def test_a_batch_may_be_larger_than_the_data(draw):
    (batch,) = draw(1, batch_size=20)
    assert batch["image_a"].shape[0] == 20


def test_damage_is_told_from_the_threads(draw, dataset, tmp_path):
    (path,) = (tmp_path / "cache").rglob("*array_record*")
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match="delete this folder"):
        draw(9)


def test_unpaired_pictures_are_taken_as_they_are(draw, make_cyclegan, tmp_path):
    source = recognise(make_cyclegan(), "flair")
    unpaired = prepare_slices(source, SliceOptions(image_size=24), tmp_path / "cache", False)
    batches = draw(6, data=unpaired)
    assert set(indices_of(batches, "image_a", unpaired.train_a, as_a)) == {0, 1, 2}
    assert set(np.unique(batches[0]["image_b"])) == {-1, 1}
    loaded = load_slices(unpaired.train_b, False, *STYLE)
    assert set(np.unique(loaded.mask)) == {-1, 1}


def test_loaded_slices_are_the_records(dataset):
    loaded = load_slices(dataset.test_a, True, *STYLE)
    assert loaded.image.shape == loaded.mask.shape == (3, 24, 24, 1)
    assert loaded.tissue.shape == loaded.brain_z.shape == (3, 24, 24)
    assert loaded.brain_z.dtype == loaded.image.dtype == loaded.mask.dtype == np.float32
    assert loaded.subjects == list(dataset.test_subjects) * 3
    assert loaded.slice_numbers.tolist() == [r["slice_number"] for r in dataset.test_a]
    np.testing.assert_array_equal(loaded.spacing_mm, np.ones((3, 3)))
    np.testing.assert_array_equal(loaded.tissue, [r["tissue"][..., 0] for r in dataset.test_a])
    np.testing.assert_array_equal(loaded.mask, [as_b(r) for r in dataset.test_a])
    np.testing.assert_array_equal(
        decode_tumor(loaded.mask[..., 0], *STYLE), is_tumor(loaded.tissue)
    )


def test_brain_z_is_standardised_by_the_brain(dataset):
    loaded = load_slices(dataset.train_a, True, *STYLE)
    record = dataset.train_a[4]
    units = record["intensity_offset"] + record["intensity_scale"] * as_a(record)[..., 0]
    expected = (units - record["brain_median"]) / record["brain_std"]
    np.testing.assert_allclose(loaded.brain_z[4], expected, rtol=1e-4, atol=1e-4)
    brain = loaded.tissue == 1
    assert abs(np.median(loaded.brain_z[brain])) < 0.2
    assert loaded.brain_z[loaded.tissue >= 2].mean() > 1


@pytest.mark.parametrize("limit", [1, 3, 4, 7])
def test_a_limit_is_spread_over_the_subjects(dataset, limit):
    loaded = load_slices(dataset.train_a, True, *STYLE, limit=limit, seed=5)
    counts = [loaded.subjects.count(name) for name in dataset.train_subjects]
    assert sum(counts) == limit
    assert max(counts) - min(counts) <= 1
    again = load_slices(dataset.train_a, True, *STYLE, limit=limit, seed=5)
    np.testing.assert_array_equal(loaded.image, again.image)


def test_a_limit_beyond_the_data_takes_all(dataset):
    assert len(load_slices(dataset.train_a, True, *STYLE, limit=100).image) == 9


def test_batches_of_images_alone_are_a_function_of_seed_and_step(dataset):
    def draw(count, **settings):
        batches = make_image_batches(dataset.train_a, 2, **settings)
        drawn = list(itertools.islice(batches, count))
        batches.close()
        return drawn

    first = draw(8, seed=0)
    assert first[0]["image"].shape == (2, 24, 24, 1)
    np.testing.assert_array_equal(first[0]["index"], [0, 1])
    for ours, theirs in zip(first[5:], draw(3, seed=0, start_step=5), strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])
    order = indices_of(first, "image", dataset.train_a, as_a)
    count = len(dataset.train_a)
    assert sorted(order[:count]) == list(range(count)), "a pass shows every slice once"
    assert order != indices_of(draw(8, seed=1), "image", dataset.train_a, as_a)


class Counted(list):
    """Records that count how often each is read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


@pytest.mark.parametrize(("room", "reads_a_pass"), [(9, 0), (4, 5), (0, 9)])
def test_images_that_fit_into_memory_are_read_once(dataset, monkeypatch, room, reads_a_pass):
    records = Counted(dataset.train_a)
    monkeypatch.setattr(pipeline, "KEPT_BYTES", room * records[0]["image"].nbytes)
    monkeypatch.setattr(pipeline, "READING_THREADS", 0)
    monkeypatch.setattr(pipeline, "BATCHES_AHEAD", 0)
    batches = make_image_batches(records, batch_size=9, seed=0)
    first, after_a_pass = next(batches), records.reads
    second = next(batches)
    assert records.reads - after_a_pass == reads_a_pass
    images = [sorted(image.tobytes() for image in batch["image"]) for batch in (first, second)]
    assert images[0] == images[1], "each pass shows the same slices"
    batches.close()


def test_images_alone_are_those_of_the_slices(dataset):
    images, subjects = load_images(dataset.train_a, limit=3, seed=1)
    slices = load_slices(dataset.train_a, dataset.paired, *STYLE, limit=3, seed=1)
    np.testing.assert_array_equal(images, slices.image)
    assert subjects == slices.subjects

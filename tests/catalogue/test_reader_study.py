"""A study gives nothing away, and no answer is lost, taken twice or broken by another."""

import json
import multiprocessing
import os
import time
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from brainsynth_jax.catalogue.reader_study import answers as answers_module
from brainsynth_jax.catalogue.reader_study.answers import (
    answers_by,
    next_slice,
    order_for,
    read_answers,
    record_answer,
)
from brainsynth_jax.catalogue.reader_study.study import (
    ANSWERS_FILE,
    KEY_FILE,
    REAL,
    STUDY_FILE,
    SYNTHETIC,
    RealSource,
    Sources,
    SyntheticSource,
    check_shown_slices,
    create_study,
    load_key,
    open_study,
    slice_path,
)
from brainsynth_jax.errors import UserError


def make_slices(count, brightness, side=16):
    """Of which each is another one, and dark or bright, so that its kind can be seen."""
    rng = np.random.default_rng([count, brightness])
    return rng.integers(brightness, brightness + 56, (count, side, side)).astype(np.uint8)


def make_sources(real, synthetic):
    return Sources(
        real=[RealSource(f"{number:064x}", number) for number in range(real)],
        synthetic=[SyntheticSource(number, f"{number:064x}") for number in range(synthetic)],
    )


def make_study(folder, count=12, seed=0, title="A study", real=20, synthetic=15, side=16):
    slices = make_slices(real, 0, side), make_slices(synthetic, 200, side)
    return create_study(folder, *slices, make_sources(real, synthetic), count, seed, title)


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study")


def answer(study, reader="R1", number=1, says=REAL, confidence=3, seconds=4.5):
    return record_answer(study, reader, number, says, confidence, seconds)


def load(study, number):
    with Image.open(slice_path(study, number)) as image:
        return np.asarray(image)


def test_half_of_the_slices_are_real_and_the_key_says_which_and_from_where(study):
    key = load_key(study)
    assert sorted(key) == list(range(1, 13))
    assert sorted(key.values()) == [REAL] * 6 + [SYNTHETIC] * 6
    pools = {REAL: make_slices(20, 0), SYNTHETIC: make_slices(15, 200)}
    places = {REAL: "slice_number", SYNTHETIC: "image_id"}
    sources = {REAL: RealSource, SYNTHETIC: SyntheticSource}
    shown = set()
    for entry in json.loads((study.folder / KEY_FILE).read_text())["slices"]:
        number, truth = entry.pop("number"), entry.pop("truth")
        assert key[number] == truth
        assert set(entry) == set(sources[truth]._fields)
        place = entry[places[truth]]
        levels = pools[truth][place]
        np.testing.assert_array_equal(load(study, number), np.where(levels < 16, 0, levels))
        shown.add((truth, place))
    assert len(shown) == 12


def test_what_is_shown_gives_nothing_away(study):
    paths = sorted((study.folder / "slices").iterdir())
    assert [path.name for path in paths] == [f"{number:04d}.png" for number in range(1, 13)]
    assert len({path.stat().st_size for path in paths}) == 1
    assert len({path.stat().st_mtime_ns for path in paths}) == 1
    for path in paths:
        with Image.open(path) as image:
            assert (image.mode, image.info) == ("L", {})
    told = json.loads((study.folder / STUDY_FILE).read_text())
    assert set(told) == {"schema", "title", "seed", "real_subjects", "count", "digest"}
    assert (told["title"], told["seed"], told["real_subjects"], told["count"]) == (
        "A study",
        0,
        6,
        12,
    )


def test_it_is_drawn_by_the_seed_and_the_slices_not_by_the_seed_alone(tmp_path, study):
    again = make_study(tmp_path / "again")
    assert again._replace(folder=study.folder) == study
    assert load_key(again) == load_key(study)
    other_seed = make_study(tmp_path / "seed", seed=1)
    assert load_key(other_seed) != load_key(study)
    # Who knows the seed, and how many slices there were, can't do the draw again.
    slices = make_slices(20, 1), make_slices(15, 200)
    other = create_study(tmp_path / "other", *slices, make_sources(20, 15), 12, 0, "A study")
    assert load_key(other) != load_key(study)


def test_a_background_that_is_not_quite_black_gives_nothing_away(tmp_path):
    real, synthetic = np.zeros((2, 3, 8, 8), np.uint8)
    real[:, 2:6, 2:6] = synthetic[:, 2:6, 2:6] = 90
    synthetic += np.random.default_rng(0).integers(0, 12, synthetic.shape, np.uint8)
    study = create_study(tmp_path / "study", real, synthetic, make_sources(3, 3), 6, 0, "A study")
    shown = np.stack([load(study, number) for number in range(1, 7)])
    assert not shown[:, :2].any()
    bare = create_study(tmp_path / "bare", real, synthetic, make_sources(3, 3), 6, 0, "A study", 0)
    assert any(load(bare, number)[:2].any() for number in range(1, 7))


def test_slices_that_were_exchanged_are_noticed(study):
    check_shown_slices(study)
    one, other = slice_path(study, 1), slice_path(study, 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(UserError, match="not those that it was made of"):
        check_shown_slices(study)


def test_real_slices_come_at_any_place(tmp_path):
    found = np.zeros(4)
    for seed in range(60):
        key = load_key(make_study(tmp_path / str(seed), count=4, seed=seed, side=2))
        found += [key[number] == REAL for number in range(1, 5)]
    assert (found > 15).all()
    assert (found < 45).all()


def test_a_study_is_opened_without_its_key(tmp_path, study):
    kept = tmp_path / "kept.json"
    (study.folder / KEY_FILE).rename(kept)
    opened = open_study(study.folder)
    assert opened == study
    answer(opened, number=next_slice(opened, "R1"))
    with pytest.raises(UserError, match=r"key\.json is not there"):
        load_key(opened)
    assert len(load_key(opened, kept)) == 12
    other = make_study(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="key of another study"):
        load_key(opened, other.folder / KEY_FILE)


def test_what_cannot_be_a_study_is_told(tmp_path):
    real, synthetic = make_slices(8, 0), make_slices(8, 200)
    sources = make_sources(8, 8)
    folder = tmp_path / "study"
    larger = make_slices(8, 200, side=32)
    with pytest.raises(UserError, match="16 x 16 and 32 x 32 pixels"):
        create_study(folder, real, larger, sources, 4, 0, "T")
    for count in (0, 3, -2, 10_000, True):
        with pytest.raises(UserError, match="an even number from 2 to 9,998"):
            create_study(folder, real, synthetic, sources, count, 0, "T")
    with pytest.raises(UserError, match=r"needs 9 real .* there are 8 and 8\. Ask for 16"):
        create_study(folder, real, synthetic, sources, 18, 0, "T")
    for title in ("", "  ", "T" * 201, "a\nb"):
        with pytest.raises(UserError, match="A study's title has 1 to 200"):
            create_study(folder, real, synthetic, sources, 4, 0, title)
    with pytest.raises(ValueError, match="uint8"):
        create_study(folder, real / 255, synthetic, sources, 4, 0, "T")
    with pytest.raises(ValueError, match="One source a slice"):
        create_study(folder, real, synthetic, make_sources(7, 8), 4, 0, "T")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path, study):
    before = sorted(path.name for path in study.folder.rglob("*"))
    with pytest.raises(UserError, match="nothing is overwritten"):
        make_study(study.folder)
    assert sorted(path.name for path in study.folder.rglob("*")) == before
    (tmp_path / "empty").mkdir()
    make_study(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nothing is overwritten"):
        make_study(tmp_path / "file")
    (tmp_path / "begun.incomplete").mkdir()
    with pytest.raises(UserError, match=r"begun\.incomplete, may be deleted"):
        make_study(tmp_path / "begun")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ('{"schema": 1}', "damaged"),
        ('{"schema": 2}', "newer version"),
        (
            '{"schema": 1, "title": 3, "seed": 0, "real_subjects": 1, "count": 2, "digest": ""}',
            "damag",
        ),
    ],
)
def test_a_damaged_or_newer_study_is_told(study, content, words):
    (study.folder / STUDY_FILE).write_text(content)
    with pytest.raises(UserError, match=words):
        open_study(study.folder)


def test_a_damaged_key_is_told(study):
    path = study.folder / KEY_FILE
    key = json.loads(path.read_text())
    for slices in ([], key["slices"][1:], [*key["slices"][1:], {"number": 1}], 3):
        path.write_text(json.dumps(key | {"slices": slices}))
        with pytest.raises(UserError, match="is damaged"):
            load_key(study)


def test_each_reader_has_an_order_that_stays(tmp_path, study):
    orders = {reader: order_for(study, reader) for reader in ("R1", "R2", "R3")}
    assert all(sorted(order) == list(range(1, 13)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 3
    assert order_for(open_study(study.folder), " R1 ") == orders["R1"]
    assert order_for(make_study(tmp_path / "other", seed=1), "R1") != orders["R1"]
    # Written down: a new version of anything must not change the order in which a study goes on.
    assert orders["R1"] == [8, 9, 4, 12, 3, 7, 6, 11, 1, 10, 2, 5]


def test_a_reader_stops_and_goes_on(study):
    shown = []
    while (number := next_slice(study, "R1")) is not None:
        shown.append(number)
        answer(study, number=number)
        study = open_study(study.folder)
        assert len(answers_by(study, "R1")) == len(shown)
    assert shown == order_for(study, "R1")
    assert next_slice(study, "R2") == order_for(study, "R2")[0]


def test_the_first_answer_counts(study):
    answer(study, says=REAL)
    with pytest.raises(UserError, match="R1 answered slice 1 before"):
        answer(study, says=SYNTHETIC)
    answer(study, reader="R2", says=SYNTHETIC)
    # As where two copies of a study were joined by hand.
    path = study.folder / ANSWERS_FILE
    path.write_text(path.read_text() + path.read_text().replace("real", "synthetic"))
    assert [(a.reader, a.says) for a in read_answers(study)] == [("R1", REAL), ("R2", SYNTHETIC)]


def test_an_answer_is_a_line_of_json(study):
    name = 'R"1\\ <script>alert(1)</script> {{ 7 * 7 }} \N{BRAIN}'
    answer(study, reader=name, number=3, says=SYNTHETIC, confidence=5, seconds=1.23456)
    (line,) = (study.folder / ANSWERS_FILE).read_bytes().splitlines()
    found = json.loads(line)
    assert found.pop("at").endswith("+00:00")
    assert found == {
        "reader": name,
        "number": 3,
        "says": "synthetic",
        "confidence": 5,
        "seconds": 1.235,
    }
    assert read_answers(study)[0].reader == name


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reader": ""}, "A reader's name has 1 to 100"),
        ({"reader": " "}, "A reader's name"),
        ({"reader": "R" * 101}, "A reader's name"),
        ({"reader": "R\n1"}, "A reader's name"),
        ({"reader": "R\x00"}, "A reader's name"),
        ({"reader": "\N{RIGHT-TO-LEFT OVERRIDE}R"}, "A reader's name"),
        ({"reader": "\ud800"}, "A reader's name"),
        ({"reader": None}, "A reader's name"),
        ({"number": 0}, "numbered from 1 to 12"),
        ({"number": 13}, "numbered from 1 to 12"),
        ({"number": True}, "numbered from 1 to 12"),
        ({"number": "1"}, "numbered from 1 to 12"),
        ({"says": "fake"}, "called real or synthetic, not 'fake'"),
        ({"says": ["real"]}, "called real or synthetic"),
        ({"confidence": 0}, "1 to 5, not 0"),
        ({"confidence": 6}, "1 to 5, not 6"),
        ({"confidence": 2.5}, "1 to 5"),
        ({"seconds": -1}, "0 to 1,000,000"),
        ({"seconds": float("nan")}, "0 to 1,000,000"),
        ({"seconds": float("inf")}, "0 to 1,000,000"),
        ({"seconds": "3"}, "0 to 1,000,000"),
    ],
)
def test_what_is_no_answer_is_refused(study, wrong, words):
    with pytest.raises(UserError, match=words):
        answer(study, **wrong)
    assert read_answers(study) == []


def test_one_name_is_one_reader_however_it_is_typed(study):
    answer(study, reader=" Zoe\N{COMBINING DIAERESIS} ")
    assert [a.number for a in answers_by(study, "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}")] == [1]


def test_a_line_that_was_cut_off_harms_no_other(study):
    for number in (1, 2, 3):
        answer(study, number=number)
    path = study.folder / ANSWERS_FILE
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(whole) + 1):
        path.write_bytes(whole[:end])
        kept = [1, 2, 3] if end >= len(whole) - 1 else [1, 2]
        assert [a.number for a in read_answers(study)] == kept
        answer(study, number=4)
        assert [a.number for a in read_answers(study)] == [*kept, 4]
        assert path.read_bytes().startswith(whole[:start])
        assert path.read_bytes().endswith(b"\n")
    path.write_bytes(whole[:start] + b"\x00" * 100)
    answer(study, number=5)
    assert [a.number for a in read_answers(study)] == [1, 2, 5]


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"reader": "R1"}', "[" * 100_000, '{"a": NaN}', "\udcff"]
)
def test_a_damaged_line_among_others_is_named(study, line):
    answer(study)
    path = study.folder / ANSWERS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole + line.encode(errors="surrogateescape") + b"\n" + whole)
    with pytest.raises(UserError, match=r"answers\.jsonl, line 2, is no answer"):
        read_answers(study)
    with pytest.raises(UserError, match="line 2"):
        answer(study, number=2)


def answer_all(folder, readers, barrier):
    """Answers all slices for each of the readers, and dawdles between reading and writing."""
    parse = answers_module._parse_answers

    def parse_slowly(*arguments):
        found = parse(*arguments)
        time.sleep(0.005)
        return found

    answers_module._parse_answers = parse_slowly
    study = open_study(folder)
    barrier.wait(60)
    for reader in readers:
        while (number := next_slice(study, reader)) is not None:
            with suppress(UserError):  # the other process was faster
                answer(study, reader=reader, number=number)


def test_processes_at_once_lose_nothing_and_take_nothing_twice(study):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    # Both write for "both", and each for one of its own.
    processes = [
        context.Process(target=answer_all, args=(study.folder, ["both", mine], barrier))
        for mine in ("one", "two")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len((study.folder / ANSWERS_FILE).read_bytes().splitlines()) == 36
    for reader in ("both", "one", "two"):
        found = sorted(a.number for a in answers_by(study, reader))
        assert found == list(range(1, 13))


def test_a_disk_that_refuses_is_told(study, monkeypatch):
    def refuse(_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(answers_module.os, "fsync", refuse)
    with pytest.raises(UserError, match="slice 1 is not kept"):
        answer(study)

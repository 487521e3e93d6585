"""A reader study in a browser: slices one at a time, and nothing that gives them away."""

import re
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from brainsynth_jax.catalogue.pages.guard import Guard
from brainsynth_jax.catalogue.pages.study_app import create_study_app
from brainsynth_jax.catalogue.reader_study.answers import order_for, read_answers
from brainsynth_jax.catalogue.reader_study.study import (
    RealSource,
    Sources,
    SyntheticSource,
    create_study,
)

COUNT = 6
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    real, synthetic = rng.integers(0, 256, (2, COUNT, 16, 16), np.uint8)
    synthetic[:, 4:] = 0  # they would be smaller as files
    sources = Sources(
        [RealSource("a" * 64, number) for number in range(COUNT)],
        [SyntheticSource(number, "b" * 64) for number in range(COUNT)],
    )
    return create_study(tmp_path / "study", real, synthetic, sources, COUNT, 0, "Gliomas & more")


@pytest.fixture
def client(study):
    guarded = Guard(create_study_app(study), ("testserver",), None)
    return TestClient(guarded, follow_redirects=False)


def shown_number(page):
    return int(re.search(r"/slices/(\d+)\.png", page.text)[1])


def answer(client, reader, number, says="real-3", shown_at=None):
    shown_at = time.time() - 2 if shown_at is None else shown_at
    form = {"reader": reader, "number": number, "answer": says, "shown_at": shown_at}
    return client.post("/answers", data=form)


def test_a_reader_goes_through_all_slices_in_an_order_of_their_own(client, study):
    assert "Gliomas &amp; more" in client.get("/").text
    seen = []
    for turn in range(COUNT):
        page = client.get("/read", params={"reader": "Ann"})
        assert f"{turn} of {COUNT}" in page.text
        seen.append(shown_number(page))
        kept = answer(client, " Ann ", seen[-1], "synthetic-5" if turn % 2 else "real-1")
        assert (kept.status_code, kept.headers["location"]) == (303, "/read?reader=Ann")
    assert seen == order_for(study, "Ann") != order_for(study, "Bob")
    assert "Thank you" in client.get("/read?reader=Ann").text
    answers = read_answers(study)
    assert [(a.says, a.confidence) for a in answers[:2]] == [("real", 1), ("synthetic", 5)]
    assert all(2 <= a.seconds < 60 for a in answers)


def test_two_clicks_are_one_answer(client, study):
    number = shown_number(client.get("/read?reader=Ann"))
    assert answer(client, "Ann", number, "real-5").status_code == 303
    assert answer(client, "Ann", number, "synthetic-5").status_code == 303
    (kept,) = read_answers(study)
    assert kept.says == "real"


def test_nothing_gives_a_slice_away(client, study):
    answers = [client.get(f"/slices/{number}.png") for number in range(1, COUNT + 1)]
    assert {len(one.content) for one in answers} == {len(answers[0].content)}
    told = [{k: v for k, v in one.headers.items() if k != "date"} for one in answers]
    assert all(one == told[0] for one in told)
    (study.folder / "key.json").rename(study.folder.parent / "put_away.json")
    assert client.get("/read?reader=Ann").status_code == 200, "the key is not needed"
    for path in ("/key.json", "/slices/../key.json", "/assets/../study.json"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"reader": "  "}, 409),
        ({"reader": "n" * 101}, 409),
        ({"reader": "A\0"}, 409),
        ({"number": 99}, 409),
        ({"number": 0}, 422),
        ({"says": "real-6"}, 422),
        ({"says": "perhaps"}, 422),
        ({"shown_at": "nan"}, 422),
    ],
)
def test_what_is_no_answer_is_refused_and_told(client, study, said, status):
    refused = answer(client, **{"reader": "Ann", "number": 1, **said})
    assert refused.status_code == status
    assert "That did not work" in refused.text
    assert read_answers(study) == []


def test_a_name_is_shown_as_it_was_written(client):
    page = client.get("/read", params={"reader": EVIL}).text
    assert EVIL not in page
    assert "&lt;img" in page


def test_a_clock_that_jumps_gives_no_odd_times(client, study):
    answer(client, "Ann", 1, shown_at=time.time() + 5000)
    answer(client, "Ann", 2, shown_at=-1e300)
    assert [a.seconds for a in read_answers(study)] == [1e6]


def test_an_answer_to_what_nobody_saw_is_left(client, study):
    assert answer(client, "Ann", 1, shown_at=time.time() - 0.1).status_code == 303
    assert read_answers(study) == []


def test_ann_and_ann_in_small_letters_are_one(client, study):
    number = shown_number(client.get("/read?reader=Ann"))
    answer(client, "Ann", number)
    assert shown_number(client.get("/read?reader=ann")) == order_for(study, "Ann")[1]
    answer(client, "ANN", order_for(study, "Ann")[1])
    assert [a.reader for a in read_answers(study)] == ["Ann", "Ann"]

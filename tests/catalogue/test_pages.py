"""The pages: what they show, whom they refuse, and that nothing makes them fail."""

import asyncio
import re
import zipfile
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from made_images import ORIGIN, add, make_image
from PIL import Image

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.database import hide_password
from brainsynth_jax.catalogue.filters import Filter
from brainsynth_jax.catalogue.pages.app import IMAGES_A_PAGE, create_app
from brainsynth_jax.catalogue.pages.guard import LARGEST_BODY, Guard
from brainsynth_jax.catalogue.pages.static_copy import write_static_copy

EVIL = "<script>alert(1)</script>'; DROP TABLE images; --"


@pytest.fixture
def catalogue(url, tmp_path):
    catalogue = Catalogue(url, tmp_path / "images")
    yield catalogue
    catalogue.close()


@pytest.fixture
def filled(catalogue):
    """Three DCGAN slices of each verdict, and a pair with its tumour at the patient's right."""
    images = [
        make_image(number, realism=number / 4, copy_verdict=verdict)
        for number, verdict in enumerate(["fresh", "near", "suspicious"])
    ]
    add(catalogue, images)
    place = {"tumor_pixels": 40, "tumor_row": 0.7, "tumor_column": 0.2}
    pair = make_image(0, masked=True, copy_verdict="fresh", **place)
    add(catalogue, [pair], ORIGIN._replace(model="cyclegan-ba", run="runs/cyclegan-001"))
    return catalogue


def open_client(catalogue, token=None, **settings):
    app = create_app(catalogue, **settings)
    guarded = Guard(app, ("testserver",), token)
    return TestClient(guarded, raise_server_exceptions=True, follow_redirects=False)


@pytest.fixture
def client(filled):
    return open_client(filled)


def follow(client, page, way):
    address = re.search(rf'rel="{way}" href="([^"]+)"', page.text)[1]
    return client.get(address.replace("&amp;", "&"))


def shown_ids(page):
    return [int(found) for found in re.findall(r'name="image" value="(\d+)"', page.text)]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3, 4]),
        ("model=dcgan", [1, 2, 3]),
        ("run=runs/cyclegan-001", [4]),
        ("verdict=near", [2]),
        ("verdict=unknown", []),
        ("least_realism=0.25&model=&run=", [2, 3]),
        ("least_tumor=40&most_tumor=40", [4]),
        ("place=right", [4]),
        ("place=front", []),
        ("review=none", [1, 2, 3, 4]),
        ("review=good", []),
        (f"run={EVIL}", []),
    ],
)
def test_a_filter_shows_what_fits(client, query, ids):
    page = client.get(f"/?{query}")
    assert page.status_code == 200
    assert shown_ids(page) == ids
    assert EVIL not in page.text


@pytest.mark.parametrize(
    "query", ["least_realism=nan", "least_tumor=-1", "model=other", "most_tumor=99999999999999"]
)
def test_what_no_filter_can_be_is_told(client, query):
    page = client.get(f"/?{query}")
    assert page.status_code == 422
    assert query.partition("=")[0] in page.text


def test_pages_follow_each_other(catalogue):
    add(catalogue, [make_image(number) for number in range(IMAGES_A_PAGE + 5)])
    client = open_client(catalogue)
    first = client.get("/?model=dcgan")
    assert shown_ids(first) == list(range(1, IMAGES_A_PAGE + 1))
    assert 'rel="prev"' not in first.text
    second = client.get(
        re.search(r'rel="next" href="([^"]+)"', first.text)[1].replace("&amp;", "&")
    )
    assert shown_ids(second) == list(range(IMAGES_A_PAGE + 1, IMAGES_A_PAGE + 6))
    assert 'rel="next"' not in second.text
    again = client.get(
        re.search(r'rel="prev" href="([^"]+)"', second.text)[1].replace("&amp;", "&")
    )
    assert shown_ids(again) == shown_ids(first)


def test_an_image_is_shown_with_its_origin_and_the_way_to_make_it_again(client, filled):
    page = client.get("/images/4")
    assert page.status_code == 200
    for words in ("CycleGAN, from a mask", "40 pixels", "back, patient&#39;s right", "fresh"):
        assert words in page.text
    assert f"generate.py --database={filled.name} --reproduce=4" in page.text
    pixels = filled.load(filled.get(4))
    sent = client.get("/images/4/image.png")
    np.testing.assert_array_equal(Image.open(BytesIO(sent.content)), pixels.image)
    overlay = np.asarray(Image.open(BytesIO(client.get("/images/4/mask.png").content)))
    np.testing.assert_array_equal(overlay[..., 3] > 0, pixels.mask >= 2)
    assert client.get("/images/1/mask.png").status_code == 404
    assert client.get("/images/99").status_code == 404
    assert client.get("/images/0").status_code == 422


def test_a_suspected_copy_is_shown_as_one(client):
    assert "suspected copy" in client.get("/images/3").text
    assert "suspected copy" not in client.get("/images/1").text.replace("suspected copies", "")


def test_a_review_is_kept_and_shown_as_it_was_written(client, filled):
    said = {"reviewer": EVIL[:60], "verdict": "artefact", "note": EVIL}
    answer = client.post("/images/2/reviews", data=said)
    assert (answer.status_code, answer.headers["location"]) == (303, "/images/2")
    (review,) = filled.get(2).reviews
    assert (review.reviewer, review.verdict, review.note) == (EVIL[:60], "artefact", EVIL)
    page = client.get("/images/2").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert shown_ids(client.get("/?review=artefact")) == [2]
    assert filled.count() == 4


@pytest.mark.parametrize("name", ["Ann\n", "Änn", "a;b=c"])
def test_a_reviewer_may_be_called_anything_that_is_seen(client, filled, name):
    assert client.post("/images/1/reviews", data={"reviewer": name, "verdict": "good"}).is_redirect
    assert filled.get(1).reviews[0].reviewer == name.strip()
    assert client.get("/images/1").status_code == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"reviewer": "  ", "verdict": "good"}, 409),
        ({"reviewer": "Ann\0", "verdict": "good"}, 409),
        ({"reviewer": "Ann", "verdict": "great"}, 422),
        ({"reviewer": "Ann", "verdict": "good", "note": "n" * 2001}, 422),
        ({"reviewer": "Ann"}, 422),
    ],
)
def test_what_is_no_review_is_refused(client, filled, said, status):
    assert client.post("/images/2/reviews", data=said).status_code == status
    assert filled.get(2).reviews == []


def test_an_altered_image_is_told_everywhere(client, filled):
    (path,) = filled.folder.glob("*/0/000001.png")
    path.write_bytes(b"not a picture")
    assert "missing or altered" in client.get("/").text
    page = client.get("/images/2")
    assert page.status_code == 200
    assert str(path.name) in page.text
    assert client.get("/images/2/image.png").status_code == 410
    path.unlink()
    assert client.get("/images/2").status_code == 200


def test_a_real_slice_is_shown_to_who_asks_only(filled):
    black = np.zeros((16, 16), np.uint8)
    client = open_client(filled, find_nearest=lambda row, pixels: black)
    assert "nearest.png" not in client.get("/images/1").text
    assert "nearest.png" in client.get("/images/1?nearest=1").text
    assert client.get("/images/1/nearest.png").headers["content-type"] == "image/png"
    without = open_client(filled)
    assert "most like it" not in without.get("/images/1").text
    assert without.get("/images/1/nearest.png").status_code == 404


def test_nobody_comes_in_without_the_token(filled):
    client = open_client(filled, token="secret")
    for path in ("/", "/images/1", "/images/1/image.png", "/assets/style.css", "/?token=wrong"):
        assert client.get(path).status_code == 401
    assert client.post("/images/1/reviews", data={"reviewer": "A"}).status_code == 401
    first = client.get("/?token=secret&model=dcgan")
    assert (first.status_code, first.headers["location"]) == (303, "/?model=dcgan")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert client.get("/").status_code == 200
    stranger = open_client(filled, token="secret")
    assert stranger.get("/", headers={"authorization": "Bearer secret"}).status_code == 200
    cluttered = {"cookie": 'prefs={"theme":"dark"}; ' + first.headers["set-cookie"].split(";")[0]}
    assert stranger.get("/", headers=cluttered).status_code == 200
    elsewhere = stranger.get("//evil.example/?token=secret")
    assert not elsewhere.headers["location"].startswith("//")


def test_other_sites_cannot_use_a_reader_who_is_in(client):
    said = {"reviewer": "Ann", "verdict": "good"}
    foreign = client.post("/images/1/reviews", data=said, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    own = client.post("/images/1/reviews", data=said, headers={"origin": "http://testserver"})
    assert own.status_code == 303
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    policy = client.get("/").headers
    assert "default-src 'self'" in policy["content-security-policy"]
    assert policy["cache-control"] == "no-store"


def test_what_is_too_large_is_refused(client, filled):
    big = "n" * (LARGEST_BODY + 1)
    assert client.post("/images/1/reviews", data={"note": big}).status_code == 413
    assert filled.get(1).reviews == []


def test_who_sends_on_and_on_is_cut_off(filled):
    """Whatever length was told; the application reads no more."""
    read, status = 0, []

    async def receive():
        nonlocal read
        read += 1000
        return {"type": "http.request", "body": b"n" * 1000, "more_body": True}

    async def send(message):
        status.append(message.get("status"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/images/1/reviews",
        "query_string": b"",
        "headers": [
            (b"host", b"testserver"),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ],
    }
    app = Guard(create_app(filled), ("testserver",), None)
    asyncio.run(asyncio.wait_for(app(scope, receive, send), timeout=60))
    assert status[0] == 400
    assert read <= LARGEST_BODY + 2000


@pytest.mark.parametrize(
    "path", ["/assets/../app.py", "/assets/%2e%2e/app.py", "/images/..%2f1", "/../../etc/passwd"]
)
def test_no_path_leads_out(client, path):
    assert client.get(path).status_code in (404, 422)


def open_zip(answer):
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(BytesIO(answer.content))


def test_what_is_ticked_is_exported(client, filled):
    chosen = {"format": "png", "scope": "chosen", "image": ["1", "3", "4"]}
    names = open_zip(client.post("/export", data=chosen)).namelist()
    pictures = [name for name in names if name.endswith(".png")]
    assert {re.search(r"\d{6}", name)[0] for name in pictures} == {"000001", "000004"}
    archive = open_zip(client.post("/export", data=chosen | {"include_suspected_copies": "1"}))
    assert sum("000003" in name for name in archive.namelist()) == 1
    answer = client.post("/export", data={"format": "png", "scope": "chosen"})
    assert answer.status_code == 409
    assert "No image is ticked" in answer.text


def test_all_that_are_shown_are_exported(client):
    shown = {"format": "numpy", "scope": "all", "model": "cyclegan-ba", "verdict": "fresh"}
    archive = open_zip(client.post("/export", data=shown))
    (name,) = [name for name in archive.namelist() if name.endswith(".npz")]
    assert np.load(BytesIO(archive.read(name)))["images"].shape == (1, 16, 16)


@pytest.mark.parametrize(
    "asked", [{}, {"format": "exe"}, {"format": "png", "image": "0"}, {"format": "png", "scope": 1}]
)
def test_what_is_no_export_is_refused(client, asked):
    assert client.post("/export", data=asked).status_code == 422


def test_a_static_copy_stands_alone(filled, tmp_path):
    folder = tmp_path / "pages"
    filled.review(1, "Dr. Roe", "good", "like Mrs. Smith")
    for path in filled.folder.glob("*/0/000001.png"):
        path.write_bytes(b"")
    selection = write_static_copy(filled, Filter(), folder)
    assert (selection.images, selection.kept_suspected) == (3, 1)
    pages = sorted(path.name for path in folder.glob("*.html"))
    assert pages == ["image-1.html", "image-2.html", "image-4.html", "index.html"]
    for page in folder.glob("*.html"):
        text = page.read_text()
        assert "<form" not in text
        for private in ("runs/", str(tmp_path), "Roe", "Smith"):
            assert private not in text
        for address in re.findall(r'(?:href|src)="([^"#]+)"', text):
            assert address == "data:," or (folder / address).is_file(), address
    assert "missing or was altered" in (folder / "image-2.html").read_text()
    assert "<strong>good</strong>" in (folder / "image-1.html").read_text()


def test_a_password_is_shown_to_nobody():
    for url in (
        "postgresql+psycopg://ann:hunter2@host/made",
        "postgresql+psycopg://host/made?user=ann&password=hunter2",
    ):
        assert "hunter2" not in hide_password(url)
        assert "host/made" in hide_password(url)
    assert hide_password("sqlite:///runs/made.sqlite") == "runs/made.sqlite"

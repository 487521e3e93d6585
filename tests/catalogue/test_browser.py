"""The pages in a real browser: by mouse, by keyboard, on a phone."""

import shutil
import socket
import threading
import zipfile
from io import BytesIO

import numpy as np
import pytest
import uvicorn
from made_images import ORIGIN, add, make_image
from PIL import Image
from playwright.sync_api import sync_playwright

from brainsynth_jax.catalogue.catalogue import Catalogue, NewImage
from brainsynth_jax.catalogue.filters import Filter
from brainsynth_jax.catalogue.image_files import Pixels
from brainsynth_jax.catalogue.pages.app import create_app
from brainsynth_jax.catalogue.pages.guard import Guard
from brainsynth_jax.catalogue.pages.static_copy import write_static_copy
from brainsynth_jax.catalogue.pages.study_app import create_study_app
from brainsynth_jax.catalogue.reader_study.answers import read_answers
from brainsynth_jax.catalogue.reader_study.study import (
    RealSource,
    Sources,
    SyntheticSource,
    create_study,
)

# Without these Chromium asks the internet for things of its own.
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    with sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *QUIET]
        )
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """open_page(address, **context): a page, on which nothing may go wrong unseen."""
    contexts, troubles = [], []

    def open_page(address, **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: said.type == "error" and troubles.append(said.text))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def serve():
    """serve(app): its address."""
    running = []

    def serve(app):
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        guarded = Guard(app, ("127.0.0.1",), None)
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def catalogue(tmp_path):
    """A slice, a suspected copy, and a pair whose image is a ramp of grey."""
    catalogue = Catalogue(f"sqlite:///{tmp_path}/made.sqlite", tmp_path / "images")
    add(catalogue, [make_image(0, copy_verdict="fresh"), make_image(1, copy_verdict="suspicious")])
    ramp = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 4:8] = 5
    pair = NewImage(0, 0, Pixels(ramp, mask))
    add(catalogue, [pair], ORIGIN._replace(model="cyclegan-ba"))
    yield catalogue
    catalogue.close()


@pytest.fixture
def address(serve, catalogue):
    return serve(create_app(catalogue))


def level_at(page, column):
    """Grey level on the screen, 0 to 255, in a column of 16 of the large picture."""
    picture = page.locator(".large .picture")
    box = picture.bounding_box()
    shot = page.screenshot(
        clip={
            "x": box["x"] + (column + 0.5) * box["width"] / 16,
            "y": box["y"] + 0.97 * box["height"],
            "width": 1,
            "height": 1,
        }
    )
    return Image.open(BytesIO(shot)).convert("RGB").getpixel((0, 0))[0]


def test_images_are_browsed_filtered_and_reviewed_by_keyboard(open_page, address, catalogue):
    page = open_page(address)
    assert page.locator(".tiles li").count() == 3
    assert page.locator(".tiles li", has_text="suspected copy").count() == 1
    page.get_by_label("Copy verdict").select_option("suspicious")
    page.get_by_role("button", name="Show", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/*verdict=suspicious*")
    assert page.locator(".tiles li").count() == 1
    page.locator(".tiles a").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/images/2")
    assert page.get_by_role("heading", level=1).inner_text().startswith("Image 2")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/images/1")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Note").fill("1 2 3: keys in a note are letters")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("2")
    page.get_by_text("artefact by Ann").wait_for()
    (review,) = catalogue.get(1).reviews
    assert (review.verdict, review.note[:5]) == ("artefact", "1 2 3")
    assert page.get_by_label("Your name").input_value() == "Ann", "it is remembered"
    for _ in range(10):  # as a key that is held does
        page.keyboard.down("1")
    page.get_by_text("good by Ann").first.wait_for()
    assert len(catalogue.get(1).reviews) == 2


def test_window_and_level_do_what_viewers_of_dicom_do(open_page, address):
    page = open_page(f"{address}/images/3")
    page.keyboard.press("m")  # the mask off
    assert level_at(page, 8) == pytest.approx(128, abs=6)
    page.locator("#level").fill("25")
    page.locator("#width").fill("50")
    for column in (0, 4, 6, 8, 12):
        value = 16 * column / 255
        expected = 255 * min(max((value - 0.25 + 0.25) / 0.5, 0), 1)
        assert level_at(page, column) == pytest.approx(expected, abs=10)
    page.get_by_role("button", name="Reset").click()
    assert level_at(page, 8) == pytest.approx(128, abs=6)


def test_the_mask_lies_over_its_tumour(open_page, address):
    page = open_page(f"{address}/images/3")
    mask = page.locator(".large .mask")
    assert mask.bounding_box() == page.locator(".large .slice").bounding_box()
    assert "tumour" in page.locator(".legend").inner_text()
    page.keyboard.press("m")
    assert mask.evaluate("element => getComputedStyle(element).opacity") == "0"


def test_ticked_images_come_as_a_file(open_page, address):
    page = open_page(address)
    page.get_by_label("3", exact=True).check()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 2


def test_pages_fit_a_phone_and_work_without_scripts(open_page, address, browser):
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    for path in ("/", "/images/3"):
        for settings in (phone, phone | {"java_script_enabled": False}):
            page = open_page(address + path, **settings)
            if settings is phone:
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= 360, "nothing is cut off"
            assert page.locator("img.slice").first.is_visible()


def test_a_static_copy_opens_from_a_disk(open_page, catalogue, tmp_path):
    write_static_copy(catalogue, Filter(), tmp_path / "pages")
    page = open_page((tmp_path / "pages/index.html").as_uri())
    assert page.locator(".tiles li").count() == 2
    page.locator(".tiles a").last.click()
    assert page.get_by_role("heading", level=1).inner_text().startswith("Image 3")
    assert page.locator(".large .slice").evaluate("image => image.naturalWidth") == 16


def test_a_reader_answers_by_keyboard(open_page, serve, tmp_path):
    rng = np.random.default_rng(0)
    real, synthetic = rng.integers(0, 256, (2, 2, 16, 16), np.uint8)
    sources = Sources(
        [RealSource("a" * 64, n) for n in range(2)],
        [SyntheticSource(n, "b" * 64) for n in range(2)],
    )
    study = create_study(tmp_path / "study", real, synthetic, sources, 4, 0, "Gliomas")
    page = open_page(serve(create_study_app(study)))
    page.get_by_label("Your name").fill("Ann")
    page.keyboard.press("Enter")
    for turn, key in enumerate("150"):
        page.get_by_text(f"Ann: {turn} of 4").wait_for()
        page.wait_for_timeout(400)  # a faster answer is to no slice that was seen
        page.keyboard.press(key)
    page.get_by_text("Ann: 3 of 4").wait_for()
    page.wait_for_timeout(400)
    answers = [(answer.says, answer.confidence) for answer in read_answers(study)]
    assert answers == [("real", 5), ("real", 1), ("synthetic", 5)]
    page.get_by_role("button", name="a guess").last.click()
    page.get_by_text("Thank you").wait_for()

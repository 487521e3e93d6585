import base64

import numpy as np
import pytest
from PIL import Image
from report_page import Page

from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.report import short, show_percent, show_range, write_page
from brainsynth_jax.plots import save_sample_grid


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        arguments = {
            "template": "report.html",
            "title": "A run <unet>",
            "options": {},
            "records": [],
            "curves_png": None,
            "sample_pngs": [],
            "notes": [],
        }
        write_page(tmp_path / "report.html", **arguments | changes)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_page_is_self_contained(write, tmp_path):
    png = tmp_path / "samples.png"
    save_sample_grid(png, [[np.zeros((5, 5))]], ["input"])
    page = write(curves_png=png, sample_pngs=[("MR to mask", "Held out.", png)])
    png.unlink()
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page.sources) == 2
    for source in page.sources:
        kind, _, content = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG")
    assert "<script" not in html
    assert "http" not in html
    assert "url(" not in html
    assert "MR to mask" in page.words


def test_text_from_outside_is_escaped(write):
    page = write(options={"flags": {"data_dir": "<b>x</b>", "slices": None}}, notes=["a & b."])
    assert "A run <unet>" in page.words
    assert "data_dir <b>x</b>" in page.words
    assert "slices not set" in page.words
    assert "a & b." in page.words


def test_a_page_that_cannot_be_written_names_the_file(tmp_path, write):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html could not be written"):
        write()


def test_a_template_that_lacks_a_value_is_no_page(tmp_path, write):
    with pytest.raises(Exception, match="'evaluation' is undefined"):
        write(template="cyclegan_report.html")
    assert not list(tmp_path.iterdir())


def test_a_gif_is_embedded_as_one(tmp_path, write):
    gif = tmp_path / "film.gif"
    Image.new("L", (2, 2)).save(gif)
    [source] = write(sample_pngs=[("Film", "", gif)]).sources
    assert source.startswith("data:image/gif;base64,R0lGOD")


def test_numbers_are_short():
    values = (0, 0.012345, -0.5, 12.34, 999.4, 999.7, 12345.6)
    shown = ["0", "0.0123", "\N{MINUS SIGN}0.5", "12.3", "999", "1,000", "12,346"]
    assert [short(value) for value in values] == shown
    assert show_range([-0.25, 0.5]) == "\N{MINUS SIGN}0.25 to 0.5"
    assert show_range(None) == ""
    assert show_percent(0.0345) == "3.5 %"

import numpy as np
import pytest
from PIL import Image
from tiny import grow_picture, save_picture

from brainsynth_jax.data.pictures import load_channel, load_grey, load_mask
from brainsynth_jax.errors import UserError


@pytest.mark.parametrize("extension", [".png", ".tif", ".jpg"])
def test_grey_pictures_and_grey_saved_in_colours(tmp_path, extension):
    grey, _ = grow_picture()
    settings = {"quality": 100} if extension == ".jpg" else {}
    tolerance = 4 if extension == ".jpg" else 0
    for name, array in (("grey", grey), ("colours", np.stack([grey] * 3, axis=-1))):
        picture = load_grey(save_picture(tmp_path / (name + extension), array, **settings))
        assert picture.shape == grey.shape
        assert picture.dtype == np.float32
        assert np.abs(picture - grey).max() <= tolerance


def test_palettes_bits_transparency_and_deep_greys_are_read(tmp_path):
    grey, mask = grow_picture()
    image = Image.fromarray(grey)
    image.convert("P").save(tmp_path / "palette.png")
    image.convert("LA").save(tmp_path / "la.png")
    image.convert("RGBA").save(tmp_path / "rgba.png")
    for name in ("palette", "la", "rgba"):
        np.testing.assert_array_equal(load_grey(tmp_path / f"{name}.png"), grey)
    Image.fromarray(mask).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(load_grey(tmp_path / "bits.png"), mask)
    deep = save_picture(tmp_path / "deep.png", grey.astype(np.uint16) * 200)
    np.testing.assert_array_equal(load_grey(deep), grey.astype(np.float32) * 200)


def test_a_colour_picture_is_refused_where_grey_is_needed(tmp_path):
    grey, _ = grow_picture()
    path = save_picture(tmp_path / "c.png", np.stack([grey, grey, grey // 2], axis=-1))
    with pytest.raises(UserError, match=r"c\.png: is in colour .* grey picture is needed"):
        load_grey(path)
    np.testing.assert_array_equal(load_channel(path, 2), grey // 2)


def test_unreadable_pictures_are_named(tmp_path):
    path = save_picture(tmp_path / "p.png", grow_picture()[0])
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "text.tif").write_text("hello")
    for broken in (path, tmp_path / "text.tif"):
        with pytest.raises(UserError, match=rf"{broken.name}: cannot be read as a picture"):
            load_grey(broken)
    with pytest.raises(UserError, match="no such file"):
        load_grey(tmp_path / "absent.png")


def test_several_pages_are_refused(tmp_path):
    pages = [Image.fromarray(grow_picture(seed)[0]) for seed in range(3)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match="holds 3 pages"):
        load_grey(tmp_path / "p.tif")


def test_pixels_that_are_not_finite_are_refused(tmp_path):
    picture = grow_picture()[0].astype(np.float32)
    picture[0, 0] = np.nan
    with pytest.raises(UserError, match="NaN or infinite pixels"):
        load_grey(save_picture(tmp_path / "p.tif", picture))


@pytest.mark.parametrize("bright", [1, 128, 255])
def test_two_levels_are_a_mask(tmp_path, bright):
    mask = grow_picture()[1] > 0
    path = save_picture(tmp_path / "m.png", mask.astype(np.uint8) * np.uint8(bright))
    loaded = load_mask(path)
    assert loaded.dtype == bool
    np.testing.assert_array_equal(loaded, mask)


def test_an_empty_mask_is_a_mask(tmp_path):
    assert not load_mask(save_picture(tmp_path / "m.png", np.zeros((5, 6), np.uint8))).any()


def test_ringing_of_jpeg_is_tolerated(tmp_path):
    mask = np.zeros((256, 256), np.uint8)
    mask[100:160, 90:150] = 255
    path = save_picture(tmp_path / "m.jpg", mask, quality=85)
    assert np.unique(np.asarray(Image.open(path))).size > 2
    np.testing.assert_array_equal(load_mask(path), mask > 0)


def test_a_picture_is_no_mask(tmp_path):
    path = save_picture(tmp_path / "m.png", grow_picture()[0])
    with pytest.raises(UserError, match=r"is not a mask, it has \d+ grey levels \(0, 1, .*two are"):
        load_mask(path)
    classes = np.zeros((8, 8), np.uint8)
    classes[2:4], classes[4:6], classes[6:] = 1, 2, 4
    with pytest.raises(UserError, match=r"4 grey levels \(0, 1, 2, 4\)"):
        load_mask(save_picture(tmp_path / "classes.png", classes))

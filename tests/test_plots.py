import numpy as np
import pytest
from PIL import Image

from brainsynth_jax import plots
from brainsynth_jax.errors import UserError
from brainsynth_jax.plots import (
    CYCLEGAN_PANELS,
    DCGAN_PANELS,
    save_curves,
    save_film,
    save_growth,
    save_sample_grid,
)

GAP, HEAD = plots._GAP_PIXELS, plots._TITLE_PIXELS


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(("height", "width", "scale"), [(200, 256, 1), (65, 33, 3)])
def test_every_pixel_of_the_grid_is_the_images_own(tmp_path, height, width, scale):
    levels = np.random.default_rng(0).integers(0, 256, (3, 2, height, width))
    images = (levels / 127.5 - 1).astype(np.float32)
    save_sample_grid(tmp_path / "grid.png", images, ["input", "translated"])
    page = read(tmp_path / "grid.png")
    assert page.shape == (
        HEAD + GAP + 3 * (height * scale + GAP),
        GAP + 2 * (width * scale + GAP),
        3,
    )
    assert (page[HEAD : HEAD + GAP] == 255).all()
    for row in range(3):
        for column in range(2):
            top = HEAD + GAP + row * (height * scale + GAP)
            left = GAP + column * (width * scale + GAP)
            tile = page[top : top + height * scale, left : left + width * scale]
            shown = tile.reshape(height, scale, width, scale, 3)
            assert (shown == levels[row, column][:, None, :, None, None]).all()


def test_titles_are_written_beside_the_images(tmp_path):
    images = np.zeros((2, 2, 200, 200))
    save_sample_grid(tmp_path / "plain.png", images, ["", ""])
    save_sample_grid(tmp_path / "titled.png", images, ["input", ""], ["BraTS_001", "BraTS_002"])
    plain, titled = read(tmp_path / "plain.png"), read(tmp_path / "titled.png")
    margin = titled.shape[1] - plain.shape[1]
    assert margin > 0
    assert titled.shape[0] - plain.shape[0] == HEAD, "without titles there is no room for any"
    head = titled[:HEAD, margin:]
    assert head[:, :200].max() == 255
    assert (head[:, 206:] == plots._DARK).all()
    for row in range(2):
        beside = titled[HEAD + row * 202 :, :margin][:202]
        assert beside.max() > 200
        assert (beside[:, [0, -1]] == plots._DARK).all()  # nothing is cut off
    np.testing.assert_array_equal(titled[HEAD:, margin:], plain)


def test_values_out_of_range_are_clipped(tmp_path):
    image = np.full((200, 200), 1.5)
    image[0] = -7
    save_sample_grid(tmp_path / "grid.png", [[image]], ["a"])
    tile = read(tmp_path / "grid.png")[HEAD + GAP : -GAP, GAP:-GAP]
    assert (tile[0] == 0).all()
    assert (tile[1:] == 255).all()


@pytest.mark.parametrize("size", range(197, 227))
def test_no_size_loses_a_pixel(tmp_path, size):
    save_sample_grid(tmp_path / "grid.png", [[np.zeros((size, size))]], [""])
    page = read(tmp_path / "grid.png")
    assert page.shape == (size + 2 * GAP, size + 2 * GAP, 3)
    assert (page[GAP:-GAP, GAP:-GAP] == 128).all()


@pytest.mark.parametrize("rows", [[], [[np.zeros((4, 4))]], [[np.zeros((4, 4))] * 3] * 2])
def test_rows_that_do_not_fit_the_titles_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="needs 2 images"):
        save_sample_grid(tmp_path / "grid.png", rows, ["a", "b"])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_gives_one_clear_sentence(tmp_path):
    (tmp_path / "samples").write_text("")
    path = tmp_path / "samples" / "grid.png"
    with pytest.raises(UserError, match=f"{path}.*--workdir"):
        save_sample_grid(path, [[np.zeros((4, 4))]], ["a"])


def test_a_failed_write_keeps_the_picture_before(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    save_curves(path, [{"step": 1, "cycle": 2.0}], CYCLEGAN_PANELS)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("brainsynth_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="No space left on device"):
        save_curves(path, [{"step": 2, "cycle": 1.0}], CYCLEGAN_PANELS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def group(names, panels):
    """{title: names} of a run that logs these names."""
    records = [
        {"step": 1, "epoch": 1, "seconds_per_step": 0.3, "peak_memory_mib": 9.0}
        | dict.fromkeys(names.split(), 1.0)
    ]
    groups = plots._group(plots._to_series(records), panels)
    return {panel.title: list(series) for panel, series in groups}


def test_losses_of_a_cyclegan_are_grouped_and_none_is_lost():
    names = "Gen Gen_AB Gen_BA adv_AB adv_BA cycle identity Dis Dis_A Dis_fakeA test_dice critic"
    assert group(names, CYCLEGAN_PANELS) == {
        "Whole-tumour Dice": ["test_dice"],
        "Generators: adversarial + cycle": ["Gen_AB", "Gen_BA", "Gen"],
        "Generators: adversarial only": ["adv_AB", "adv_BA"],
        "Cycle and identity": ["cycle", "identity"],
        "Discriminators": ["Dis_A", "Dis"],
        "Discriminators, by image": ["Dis_fakeA"],
        "Others": ["critic"],
    }


def test_values_of_a_dcgan_are_grouped_and_none_is_lost():
    names = (
        "Gen Dis score_real score_fake penalty augment_strength kid kid_test kid_real "
        "ms_ssim_samples ms_ssim_real grid_ratio nearest_ratio critic_gap_train critic_gap_test new"
    )
    assert group(names, DCGAN_PANELS) == {
        "Kernel distance": ["kid", "kid_test", "kid_real"],
        "Likeness of two slices (MS-SSIM)": ["ms_ssim_samples", "ms_ssim_real"],
        "Distance to training slices": ["nearest_ratio"],
        "Up-sampling grid": ["grid_ratio"],
        "Discriminator's gap": ["critic_gap_train", "critic_gap_test"],
        "Mean scores in training": ["score_real", "score_fake"],
        "Losses": ["Gen", "Dis"],
        "Gradient penalty": ["penalty"],
        "Strength of the augmentation": ["augment_strength"],
        "Others": ["new"],
    }


def test_series_are_sorted_and_hold_what_is_finite():
    records = [
        {"step": 3, "cycle": 3.0},
        {"step": 1, "cycle": 1.0, "test_dice": 0.5},
        {"step": 2, "cycle": float("nan")},
        {"step": 3, "cycle": 4.0, "test_dice": None},
    ]
    series = plots._to_series(records)
    np.testing.assert_array_equal(series["cycle"], [[1, 3], [1.0, 4.0]])
    np.testing.assert_array_equal(series["test_dice"], [[1], [0.5]])


def test_smoothing_is_a_centred_mean_that_keeps_level_and_slope():
    np.testing.assert_allclose(plots._smooth(np.full(100, 2.5)), 2.5)
    line = np.arange(100.0)
    np.testing.assert_allclose(plots._smooth(line)[3:-3], line[3:-3])
    assert plots._smooth(line)[0] == pytest.approx(1.5)  # of 0, 1, 2, 3


@pytest.mark.parametrize(
    ("records", "panels"),
    [
        ([], 0),
        ([{"step": 1, "cycle": 0.0}], 1),
        ([{"step": k, "Dis_A": 10.0**-k, "Dis_B": -k} for k in range(9)], 1),
        ([{"step": k, "Dis_A": 10.0**-k, "test_dice": 0.5, "Gen": 1.0} for k in range(9)], 3),
        ([{"step": k, "adv_AB": 10.0**k} for k in range(9)], 1),
    ],
)
def test_curves_of_short_and_odd_runs_are_drawn(tmp_path, records, panels):
    save_curves(tmp_path / "curves.png", records, CYCLEGAN_PANELS)
    height, width, _ = read(tmp_path / "curves.png").shape
    assert (width, height) == (720 * min(2, max(1, panels)), 384 * max(1, -(-panels // 2)))


def test_a_logarithmic_panel_leaves_out_a_reference_at_zero(tmp_path):
    gaps = [{"step": k, "critic_gap_train": 10.0**k} for k in range(9)]
    save_curves(tmp_path / "gaps.png", gaps, DCGAN_PANELS)
    without = [panel._replace(reference=None) for panel in DCGAN_PANELS]
    save_curves(tmp_path / "plain.png", gaps, without)
    np.testing.assert_array_equal(read(tmp_path / "gaps.png"), read(tmp_path / "plain.png"))


@pytest.fixture
def save_frames(tmp_path):
    def save_frames(levels, size=(40, 30)):
        paths = [tmp_path / f"epoch_{number:03d}.png" for number in range(len(levels))]
        for path, level in zip(paths, levels, strict=True):
            Image.new("L", size, level).save(path)
        return paths

    return save_frames


def play(path):
    """The frames (N, H, W) of a film, their seconds, and how often it is repeated."""
    with Image.open(path) as film:
        frames, seconds = [], []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("L")))
            seconds.append(film.info["duration"] / 1000)
        return np.stack(frames), seconds, film.info["loop"]


def test_a_film_shows_its_pictures_in_order_and_holds_the_last(tmp_path, save_frames):
    save_film(tmp_path / "film.gif", save_frames([0, 119, 255]), 1.5)
    frames, seconds, loop = play(tmp_path / "film.gif")
    assert frames.shape == (3, 30, 40)
    for frame, level in zip(frames, (0, 119, 255), strict=True):
        assert (frame == level).all()
    assert seconds == [0.5, 0.5, 2.5]
    assert loop == 0


def test_a_film_of_many_pictures_is_thinned_evenly(tmp_path, save_frames):
    save_film(tmp_path / "film.gif", save_frames(range(256)), 8.0)
    frames, seconds, _ = play(tmp_path / "film.gif")
    shown = frames[:, 0, 0].astype(int)
    assert shown[0] == 0
    assert shown[-1] == 255
    assert (np.diff(shown) >= 0).all()
    assert len(seconds) <= plots._FILM_FRAMES
    assert sum(seconds) == pytest.approx(10.0)


def test_large_pictures_are_halved_by_area(tmp_path, save_frames):
    first, second = save_frames([0, 255], (1200, 900))
    chessboard = np.indices((900, 1200)).sum(axis=0) % 2 * 255
    Image.fromarray(chessboard.astype(np.uint8)).save(first)
    save_film(tmp_path / "film.gif", [first, second], 1.0)
    frames, _, _ = play(tmp_path / "film.gif")
    assert frames.shape == (2, 450, 600)
    assert np.ptp(frames[0]) == 0
    assert abs(int(frames[0, 0, 0]) - 127) <= 9  # one of 16 levels


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_are_no_film(tmp_path, save_frames, count):
    save_film(tmp_path / "film.gif", save_frames([0] * count), 1.0)
    assert not (tmp_path / "film.gif").exists()


def test_pictures_of_different_sizes_are_no_film(tmp_path, save_frames):
    [small] = save_frames([0])
    large = tmp_path / "large.png"
    Image.new("L", (50, 30)).save(large)
    with pytest.raises(ValueError, match="Pictures of one size"):
        save_film(tmp_path / "film.gif", [small, large], 1.0)
    assert not (tmp_path / "film.gif").exists()


def test_growth_has_a_row_for_time_and_one_for_memory(tmp_path):
    records = [
        {
            "name": name,
            "changed": changed,
            changed: value,
            "seconds_median": value * slower,
            "flops": value**2,
            "peak_memory_mib": 500 + value,
        }
        for name, slower in (("dcgan", 0.1), ("cyclegan-resnet", 1.0))
        for changed, values in (("batch_size", (1, 2, 4)), ("width", (8, 16)))
        for value in values
    ]
    save_growth(tmp_path / "growth.png", records)
    page = read(tmp_path / "growth.png")
    assert page.shape[:2] == pytest.approx((820, 922), abs=2)  # two columns of two
    for half in (page[:, : page.shape[1] // 2], page[:, page.shape[1] // 2 :]):
        assert half.std() > 10

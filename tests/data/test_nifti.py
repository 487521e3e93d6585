import gzip

import numpy as np
import pytest
from tiny import LPS, grow_scan

from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA
from brainsynth_jax.data.nifti import load_scan, load_volume, save_slices, save_volume
from brainsynth_jax.errors import UserError

CODES = {1: CORE, 2: OEDEMA, 4: ENHANCING}


def save_pair(folder, image, labels, image_affine=LPS, label_affine=LPS):
    paths = folder / "x_flair.nii.gz", folder / "x_seg.nii.gz"
    save_volume(paths[0], image, image_affine)
    save_volume(paths[1], labels, label_affine)
    return paths


def test_saving_and_loading_gives_the_same_voxels_in_canonical_order(tmp_path):
    flair, _ = grow_scan()
    for ending in (".nii", ".nii.gz"):
        save_volume(tmp_path / f"v{ending}", flair, LPS)
        volume = load_volume(tmp_path / f"v{ending}")
        np.testing.assert_array_equal(volume.array, flair[::-1, ::-1])
        assert volume.array.dtype == np.int16
        assert volume.spacing_mm == (1, 1, 1)
        np.testing.assert_allclose(volume.affine[:3, :3], np.eye(3))


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    flair, _ = grow_scan()
    save_volume(tmp_path / "a.nii.gz", flair, LPS)
    save_volume(tmp_path / "b.nii.gz", flair, LPS)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_axes_stored_in_another_order_are_turned(tmp_path):
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    # Stored axes run up, to the right, to the back, with 3, 1 and 2 mm.
    affine = np.array([[0, 1.0, 0, 0], [0, 0, -2, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    save_volume(tmp_path / "v.nii", array, affine)
    volume = load_volume(tmp_path / "v.nii")
    np.testing.assert_array_equal(volume.array, array.transpose(1, 2, 0)[:, ::-1])
    assert volume.spacing_mm == (1, 2, 3)


@pytest.mark.parametrize("flip", [np.diag([1.0, 1, 1, 1]), LPS])
def test_slices_are_shown_as_a_radiologist_sees_them(tmp_path, flip):
    array = np.zeros((5, 7, 3), np.int16)
    array[1, 3, 2], array[2, 6, 1] = 10, 20
    array[array == 0] = 1
    signs = np.sign(np.diag(flip)[:3]).astype(int)
    stored = array[:: signs[0], :: signs[1]]
    image, labels = save_pair(tmp_path, stored, np.zeros((5, 7, 3), np.uint8), flip, flip)
    scan = load_scan(image, labels, CODES)
    assert scan.image.shape == (3, 7, 5)
    assert scan.image.dtype == np.float32
    # One voxel left of the patient's right edge... seen from below, right is on the left.
    assert scan.image[2, 3, 3] == 10
    # The frontmost voxel is in the first row.
    assert scan.image[1, 0, 2] == 20
    assert scan.slice_numbers.tolist() == [0, 1, 2]


def test_spacing_is_between_slices_rows_columns_and_labels_are_recoded(tmp_path):
    flair, seg = grow_scan()
    affine = np.diag([0.5, 0.75, 3.0, 1])
    scan = load_scan(*save_pair(tmp_path, flair, seg, affine, affine), CODES)
    assert scan.spacing_mm == (3.0, 0.75, 0.5)
    counts = [(scan.labels == code).sum() for code in (CORE, OEDEMA, ENHANCING)]
    assert counts == [(seg == value).sum() for value in (1, 2, 4)]
    assert min(counts) > 0


def test_labels_stored_as_floats_are_accepted(tmp_path):
    flair, seg = grow_scan()
    scan = load_scan(*save_pair(tmp_path, flair, seg.astype(np.float32)), CODES)
    assert set(np.unique(scan.labels)) == {0, OEDEMA, CORE, ENHANCING}


def test_one_channel_of_four_is_taken(tmp_path):
    channels = np.stack([grow_scan()[0] + k for k in range(4)], axis=-1)
    save_volume(tmp_path / "v.nii.gz", channels, LPS)
    volume = load_volume(tmp_path / "v.nii.gz", channel=2, channels=4)
    np.testing.assert_array_equal(volume.array, channels[::-1, ::-1, :, 2])


def test_a_trailing_axis_of_one_is_no_fourth_dimension(tmp_path):
    flair, _ = grow_scan()
    save_volume(tmp_path / "v.nii.gz", flair[..., None], LPS)
    assert load_volume(tmp_path / "v.nii.gz").array.shape == flair.shape


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path, share):
    path = tmp_path / "v.nii.gz"
    save_volume(path, grow_scan()[0], LPS)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"v\.nii\.gz: cannot be read as NIfTI .*truncated"):
        load_volume(path)


def test_other_unreadable_files_are_named(tmp_path):
    (tmp_path / "text.nii.gz").write_text("hello")
    (tmp_path / "zipped_text.nii.gz").write_bytes(gzip.compress(b"hello" * 1000))
    damaged = tmp_path / "damaged.nii.gz"
    save_volume(damaged, grow_scan()[0], LPS)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    damaged.write_bytes(data)
    for name in ("text", "zipped_text", "damaged"):
        with pytest.raises(UserError, match=rf"{name}\.nii\.gz: cannot be read"):
            load_volume(tmp_path / f"{name}.nii.gz")
    with pytest.raises(UserError, match="no such file"):
        load_volume(tmp_path / "absent.nii.gz")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(UserError, match="may not be read; change its permissions"):
        load_volume(tmp_path / "v.nii")


def test_wrong_dimensions_are_refused(tmp_path):
    save_volume(tmp_path / "four.nii", np.ones((3, 3, 3, 4), np.int16), LPS)
    save_volume(tmp_path / "three.nii", np.ones((3, 3, 3), np.int16), LPS)
    save_volume(tmp_path / "two.nii", np.ones((3, 3), np.int16), LPS)
    with pytest.raises(UserError, match=r"shape \(3, 3, 3, 4\); three dimensions are needed"):
        load_volume(tmp_path / "four.nii")
    with pytest.raises(UserError, match="four dimensions, 4 channels are needed"):
        load_volume(tmp_path / "three.nii", channel=1, channels=4)
    with pytest.raises(UserError, match=r"shape \(3, 3\)"):
        load_volume(tmp_path / "two.nii")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(tmp_path, bad):
    image = grow_scan()[0].astype(np.float32)
    image[3, 4, 5] = bad
    save_volume(tmp_path / "v.nii.gz", image, LPS)
    with pytest.raises(UserError, match=f"1 of {image.size} voxels are NaN or infinite"):
        load_volume(tmp_path / "v.nii.gz")


def test_image_and_labels_have_to_fit(tmp_path):
    flair, seg = grow_scan()
    with pytest.raises(UserError, match=r"\(20, 24, 8\) but its image .* \(20, 24, 9\)"):
        load_scan(*save_pair(tmp_path, flair, seg[..., :-1]), CODES)
    shifted = LPS.copy()
    shifted[2, 3] = 2.5
    with pytest.raises(UserError, match=r"x_seg.* lie up to 2\.5 mm apart .*at most 0\.1 mm"):
        load_scan(*save_pair(tmp_path, flair, seg, LPS, shifted), CODES)


def test_spacings_that_differ_are_told_in_millimetres_at_the_farthest_corner(tmp_path):
    flair, seg = grow_scan()
    coarse = np.diag([1.09, 1.09, 1.09, 1])
    # The corner at (19.5, 23.5, 8.5) voxels, outer edges, moves by 0.09 of its distance.
    with pytest.raises(UserError, match=r"lie up to 2\.853 mm apart"):
        load_scan(*save_pair(tmp_path, flair, seg, np.eye(4), coarse), CODES)


def test_a_small_turn_adds_up_over_the_volume(tmp_path):
    flair, seg = grow_scan()
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.05), -np.sin(0.05)], [np.sin(0.05), np.cos(0.05)]]
    # By 0.05 rad about the origin; the farthest corner is 30.54 mm from the axis.
    with pytest.raises(UserError, match=r"lie up to 1\.527 mm apart"):
        load_scan(*save_pair(tmp_path, flair, seg, np.eye(4), turn), CODES)


@pytest.mark.parametrize("value", [0, np.nan])
def test_an_affine_that_places_no_voxel_is_named(tmp_path, value):
    path = tmp_path / "v.nii"
    save_volume(path, grow_scan()[0], LPS)
    data = bytearray(path.read_bytes())
    data[280:328] = np.full(12, value, np.float32).tobytes()  # the header's sform
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"v\.nii: its affine is singular or not finite.*; correct"):
        load_volume(path)


def test_rounding_in_the_headers_is_allowed(tmp_path):
    flair, seg = grow_scan()
    assert load_scan(*save_pair(tmp_path, flair, seg, LPS, LPS + 1e-4), CODES).labels.any()


def test_an_empty_image_is_refused(tmp_path):
    flair, seg = grow_scan()
    with pytest.raises(UserError, match=r"x_flair\.nii\.gz: is empty, every voxel is 0"):
        load_scan(*save_pair(tmp_path, flair * 0, seg), CODES)


@pytest.mark.parametrize(
    ("value", "dtype"), [(7, np.uint8), (-1, np.int16), (1000, np.int16), (1.5, np.float32)]
)
def test_labels_that_are_no_labels_are_shown(tmp_path, value, dtype):
    flair, seg = grow_scan()
    seg = seg.astype(dtype)
    seg[10, 10, 4] = value
    with pytest.raises(UserError, match=rf"holds the values {value}, .*; 0, 1, 2, 4 are allowed"):
        load_scan(*save_pair(tmp_path, flair, seg), CODES)


def test_slices_come_back_as_they_were_written(tmp_path):
    slices = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    save_slices(tmp_path / "slices.nii.gz", slices, [2.0, 1.5, None])
    volume = load_volume(tmp_path / "slices.nii.gz")
    # Display orientation of a canonical volume v is v[::-1, ::-1, k].T for slice k.
    shown = np.stack([volume.array[::-1, ::-1, k].T for k in range(3)])
    np.testing.assert_array_equal(shown, slices)
    np.testing.assert_allclose(np.abs(np.diag(volume.affine)), [1.0, 1.5, 2.0, 1.0])

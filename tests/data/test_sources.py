import os
from pathlib import Path

import pytest

from brainsynth_jax.data.listing import count_by_extension, find_files, natural_order
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path):
    with pytest.raises(UserError, match=r"--data_dir=.*nowhere: no such folder"):
        recognise(tmp_path / "nowhere", "flair")
    (tmp_path / "file.nii").write_bytes(b"")
    with pytest.raises(UserError, match=r"file\.nii: is a file; name the folder"):
        recognise(tmp_path / "file.nii", "flair")


def test_a_folder_that_may_not_be_read_is_named(make_brats, monkeypatch):
    root, scan = make_brats(), os.scandir

    def refuse_s2(folder):
        if Path(folder).name == "S2":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr("os.scandir", refuse_s2)
    with pytest.raises(UserError, match=r"S2 cannot be read \(Permission denied\); change its"):
        recognise(root, "flair")


def test_nothing_recognised_says_what_was_looked_for_and_found(tmp_path):
    with pytest.raises(UserError, match=r"Found no files\."):
        recognise(tmp_path, "flair")
    for name in ("a.csv", "b.csv", "c.NII.GZ", "README"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        recognise(tmp_path, "flair")
    message = str(caught.value)
    for wanted in ("NAME_flair.nii.gz", "dataset.json", "images/", "NAME_k_mask.tif", "trainA/"):
        assert wanted in message
    assert message.endswith("Found 2 .csv, 1 without extension, 1 .nii.gz.")


def test_numbers_are_ordered_as_numbers():
    names = ["x_10", "x_2", "x_2b", "y", "10", "9"]
    assert sorted(map(Path, names), key=natural_order) == [
        Path(name) for name in ("9", "10", "x_2", "x_2b", "x_10", "y")
    ]


def test_files_are_found_at_any_depth_without_the_hidden(tmp_path):
    for name in ("b/2.png", "b/10.png", "a.png", ".x.png", "._a.png", "b/.git/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)]
    assert found == ["a.png", "b/2.png", "b/10.png"]
    assert count_by_extension(find_files(tmp_path)) == "3 .png"

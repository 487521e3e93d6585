"""What is whole or not there."""

import csv
import json

import numpy as np
import pytest

from brainsynth_jax.files import filled_folder, write_json, write_table


@pytest.mark.parametrize("there", [True, False], ids=["empty", "new"])
def test_a_folder_appears_when_it_is_full(tmp_path, there):
    folder = tmp_path / "made" / "slices"
    if there:
        folder.mkdir(parents=True)
    with filled_folder(folder) as unfinished:
        (unfinished / "slice.png").write_text("1")
        assert not (folder / "slice.png").exists()
    assert [path.name for path in folder.iterdir()] == ["slice.png"]
    assert [path.name for path in folder.parent.iterdir()] == ["slices"]


def test_of_a_broken_off_folder_nothing_is_left(tmp_path):
    def fill():
        with filled_folder(tmp_path / "slices") as unfinished:
            (unfinished / "slice.png").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_table_holds_its_rows_with_empty_cells_for_none(tmp_path):
    rows = [{"name": "Ann, B", "dice": 0.5}, {"name": "C", "dice": None}]
    write_table(tmp_path / "new" / "t.csv", rows)
    with (tmp_path / "new" / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["name", "dice"], ["Ann, B", "0.5"], ["C", ""]]


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, None, (0.5, float("nan"))], "b": {"c": -np.inf}})
    found = json.loads((tmp_path / "x.json").read_text())
    assert found == {"a": [1, None, [0.5, None]], "b": {"c": None}}

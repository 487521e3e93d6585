"""What is whole or not there."""

import pytest

from brainsynth_jax.files import filled_folder


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

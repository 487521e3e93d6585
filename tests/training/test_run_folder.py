import json

import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.run_folder import (
    check_same_options,
    load_options,
    next_run_folder,
    save_options,
)


def test_new_runs_are_numbered_after_the_highest(tmp_path):
    assert next_run_folder(tmp_path, "cyclegan") == tmp_path / "cyclegan-001"
    for name in ("cyclegan-001", "cyclegan-007", "cyclegan-old", "dcgan-009"):
        (tmp_path / name).mkdir()
    assert next_run_folder(tmp_path, "cyclegan") == tmp_path / "cyclegan-008"


def test_options_come_back(tmp_path):
    save_options(tmp_path / "run", "cyclegan", {"seed": 3}, {"fingerprint": "abc"})
    options = load_options(tmp_path / "run")
    assert options["flags"] == {"seed": 3}
    assert options["data"] == {"fingerprint": "abc"}
    assert {"python", "jax", "optax"} <= options["versions"].keys()


def test_folders_that_are_no_run_are_refused_and_kept(tmp_path):
    assert load_options(tmp_path / "new") is None
    assert load_options(tmp_path) is None, "an empty folder is as good as none"
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty and holds no options"):
        load_options(tmp_path)
    with pytest.raises(UserError, match=r"thesis\.txt is a file"):
        load_options(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_damaged_options_are_named(tmp_path):
    (tmp_path / "options.json").write_text("{")
    with pytest.raises(UserError, match=r"options\.json cannot be read"):
        load_options(tmp_path)
    (tmp_path / "options.json").write_text(json.dumps({"flags": {}}))
    with pytest.raises(UserError, match=r"options\.json .*script"):
        load_options(tmp_path)


def test_differences_are_named_with_both_values(tmp_path):
    stored = {"--seed": 0, "--width": 16, "--generator": "unet"}
    check_same_options(tmp_path, stored, {"--seed": 0})
    with pytest.raises(UserError, match=r"--width was 16 and is now 64; --generator was 'unet'"):
        check_same_options(tmp_path, stored, {"--width": 64, "--generator": "resnet"})

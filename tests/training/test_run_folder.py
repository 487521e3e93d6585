import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.run_folder import (
    check_same_options,
    claim_run_folder,
    held_run_folder,
    load_options,
    save_options,
)


def test_new_runs_are_numbered_after_the_highest_and_never_shared(tmp_path):
    assert claim_run_folder(tmp_path / "runs", "cyclegan") == tmp_path / "runs" / "cyclegan-001"
    for name in ("cyclegan-007", "cyclegan-old", "dcgan-009"):
        (tmp_path / "runs" / name).mkdir()
    with ThreadPoolExecutor(8) as pool:
        claimed = list(
            pool.map(lambda _: claim_run_folder(tmp_path / "runs", "cyclegan"), range(8))
        )
    assert sorted(folder.name for folder in claimed) == [f"cyclegan-{n:03d}" for n in range(8, 16)]


def test_a_folder_in_use_is_refused(tmp_path):
    with (
        held_run_folder(tmp_path / "run"),
        pytest.raises(UserError, match="in use by another process"),
        held_run_folder(tmp_path / "run"),
    ):
        pass
    with held_run_folder(tmp_path / "run"):
        assert load_options(tmp_path / "run") is None, "a lock alone is no run"


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

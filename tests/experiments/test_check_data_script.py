"""The script that looks for what is wrong with the data, and the runs that warn of it."""

import json
import re
import shutil
from itertools import takewhile

import numpy as np
import pytest
from conftest import TINY, TINY_DCGAN
from PIL import Image
from run_checks import assert_every_flag_is_explained, assert_refused

# With seed 1 the first in name order is held out.
FLAGS = ("--image_size=32", "--min_tumor_area_pixels=1", "--test_fraction=0.34", "--seed=1")


@pytest.fixture(scope="module")
def copied_dir(phantom_dir, tmp_path_factory):
    """The phantom with a subject that is there again, under a name of its own."""
    root = tmp_path_factory.mktemp("copied") / "phantom"
    shutil.copytree(phantom_dir, root)
    (root / "Phantom_000").mkdir()
    for file in (root / "Phantom_002").iterdir():
        name = file.name.replace("Phantom_002", "Phantom_000")
        shutil.copy(file, root / "Phantom_000" / name)
    return root


def test_sound_data_end_with_status_0_and_what_was_looked_at(run, phantom_dir, tmp_path):
    where = (f"--data_dir={phantom_dir}", f"--json={tmp_path / 'found.json'}")
    finished = run("check_data", *where, *FLAGS)
    assert finished.status == 0, finished.out + finished.error
    assert "Nothing found. Looked at:" in finished.out
    for words in ("Patients in train", "Near-duplicate", "Heads and tum", "Intensit", "Masks"):
        assert words in finished.out
    found = json.loads((tmp_path / "found.json").read_text())
    assert [check["findings"] for check in found["checks"]] == [[]] * 5
    assert found["data_dir"] == str(phantom_dir)
    assert len(found["train_subjects"] + found["test_subjects"]) == 3


def test_findings_say_effect_and_cure_and_end_with_status_1(run, copied_dir, tmp_path):
    where = (f"--data_dir={copied_dir}", f"--json={tmp_path / 'found.json'}")
    finished = run("check_data", *where, *FLAGS)
    assert finished.status == 1, finished.error
    _, _, group = finished.out.partition("Near-duplicate slices\n---------------------\n")
    group, _, clean = group.partition("\nNothing found in:\n")
    order = [group.index(words) for words in ("near-duplicates", "Where:", "Effect:", "Cure:")]
    assert order == sorted(order)
    assert "Masks" in clean
    checks = json.loads((tmp_path / "found.json").read_text())["checks"]
    (findings,) = [check["findings"] for check in checks if check["findings"]]
    assert findings[0].keys() == {"what", "where", "effect", "cure"}
    assert re.match(r"Phantom_00(0|2) slice (\d+) = Phantom_00(0|2) slice \2", findings[0]["where"])


@pytest.mark.parametrize(("script", "flags"), [("cyclegan", TINY), ("dcgan", TINY_DCGAN)])
def test_a_run_warns_of_it_in_one_line_before_it_begins(start, copied_dir, tmp_path, script, flags):
    where = (f"--data_dir={copied_dir}", f"--workdir={tmp_path / 'run'}", "--seed=1")
    process = start(script, *where, *flags, environment={"PYTHONUNBUFFERED": "1"})
    said = list(takewhile(lambda line: not line.startswith("Devices:"), process.stdout))
    process.kill()
    process.communicate()
    (warning,) = [line.strip() for line in said if line.startswith("warning:")]
    assert "near-duplicates of slices in train" in warning
    assert "Phantom_002 slice" in warning
    assert warning.endswith(f"python experiments/check_data.py --data_dir={copied_dir} says more.")


def test_pictures_in_folders_say_what_they_do_not_tell(run, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        for number in range(3):
            picture = rng.integers(0, 256, (32, 32), np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / folder / f"{number}.png")
    shutil.copy(tmp_path / "pictures/trainA/1.png", tmp_path / "pictures/testA/7.png")
    finished = run("check_data", f"--data_dir={tmp_path / 'pictures'}", "--image_size=32")
    assert finished.status == 1, finished.error
    assert "testA/7.png = trainA/1.png" in finished.out
    _, _, untold = finished.out.partition("Not told by these data:")
    for words in ("do not tell whose they are", "Copies within trainA/", "come without slices"):
        assert words in " ".join(untold.split())


def test_help_groups_every_flag(run):
    finished = run("check_data", "--help")
    assert finished.status == 0
    for words in ("Data\n----", "Output\n------", "--intensity=median|percentiles", "Exit status"):
        assert words in finished.out
    assert_every_flag_is_explained("check_data", finished.out)


def test_mistakes_end_in_one_sentence(run):
    assert_refused(run("check_data", "--data_dir=/no/such/folder"), "/no/such/folder")
    assert_refused(run("check_data", "--slices=7"), "--slices=7", "60:107")

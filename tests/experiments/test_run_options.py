"""Which value of a flag wins, and what may change when a run goes on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import run_options
from run_options import resolve_run

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.run_folder import save_options

DEFAULTS = {
    "workdir": None,
    "data_dir": None,
    "preset": None,
    "epochs": 20,
    "decay_epochs": 0,
    "width": 64,
    "log_every": 5,
}
PRESETS = {"demo": {"width": 16, "epochs": 5}, "paper": {}}
FREE = {"workdir", "data_dir", "log_every"}


@pytest.fixture
def resolve(monkeypatch):
    """resolve(**given): the run that these flags ask for."""

    def layered(*layers):
        return {
            name: next((layer[name] for layer in layers if name in layer), default)
            for name, default in DEFAULTS.items()
        }

    monkeypatch.setattr(run_options, "resolve_flags", layered)

    def resolve(**given):
        monkeypatch.setattr(run_options, "given_flags", lambda: given)
        return resolve_run("cyclegan", PRESETS, FREE)

    return resolve


@pytest.fixture
def earlier(tmp_path):
    """The folder of a run that began with the defaults and width 8."""
    save_options(
        tmp_path / "run",
        "cyclegan",
        DEFAULTS | {"width": 8, "preset": "paper"},
        {"fingerprint": "a"},
    )
    return tmp_path / "run"


def test_a_flag_wins_over_the_preset_and_the_preset_over_the_default(resolve):
    options = resolve(epochs=3).options
    assert (options.preset, options.epochs, options.width, options.log_every) == ("demo", 3, 16, 5)


def test_data_of_ones_own_mean_the_papers_preset_unless_told(resolve):
    assert resolve(data_dir="BraTS").options.preset == "paper"
    assert resolve(data_dir="BraTS", preset="demo").options.width == 16


def test_a_run_gone_on_with_keeps_its_options(resolve, earlier):
    run = resolve(workdir=str(earlier))
    assert (run.workdir, run.options.width, run.options.preset) == (earlier, 8, "paper")
    assert resolve(workdir=str(earlier), width=8, log_every=1).options.log_every == 1


def test_every_difference_is_named(resolve, earlier):
    with pytest.raises(UserError, match=r"--width was 8 and is now 16") as refused:
        resolve(workdir=str(earlier), width=16, decay_epochs=2)
    assert "--decay_epochs was 0 and is now 2" in str(refused.value)


def test_a_run_at_a_constant_rate_may_be_made_longer_but_not_shorter(resolve, earlier, tmp_path):
    assert resolve(workdir=str(earlier), epochs=30).options.epochs == 30
    with pytest.raises(UserError, match="--epochs was 20 and is now 10"):
        resolve(workdir=str(earlier), epochs=10)
    falling = tmp_path / "falling"
    save_options(falling, "cyclegan", DEFAULTS | {"decay_epochs": 5}, {"fingerprint": "a"})
    with pytest.raises(UserError, match="--epochs was 20 and is now 30"):
        resolve(workdir=str(falling), epochs=30)


def test_another_scripts_run_and_other_slices_are_refused(resolve, earlier, tmp_path):
    run = resolve(workdir=str(earlier))
    run.check_data("a")
    with pytest.raises(UserError, match="not those that the run in"):
        run.check_data("b")
    save_options(tmp_path / "other", "dcgan", DEFAULTS, {"fingerprint": "a"})
    with pytest.raises(UserError, match=r"holds a run of experiments/dcgan\.py"):
        resolve(workdir=str(tmp_path / "other"))


def test_a_new_runs_data_are_never_refused(resolve):
    resolve().check_data("anything")

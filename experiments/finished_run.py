"""A run's folder, opened to be looked at."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
from run_options import Run

from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.report import SCHEMA
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.parallel import choose_devices, describe_state
from brainsynth_jax.training.run_folder import OPTIONS_FILE, load_options

# What runs did that began before there was such a flag.
_LATER_FLAGS = {"train_subjects": 0, "encoder": None}

# What utility.py found with a run.
UTILITY_FILE = "utility.json"
_UTILITY = ("schema", "held_out", "generator_step", "experiment", "comparisons")


def load_run(
    workdir: str | None,
    scripts: tuple[str, ...],
    data_dir: str | None = None,
    flag: str = "--workdir",
) -> Run:
    """The run in a folder, with another --data_dir where one is given.

    Args:
        workdir: the flag's value.
        scripts: whose runs can be taken.
        data_dir: where its scans are now, None for where they were.
        flag: the one that names the folder.

    Raises:
        UserError: no folder given, no run in it, or one of another script.
    """
    if workdir is None:
        raise UserError(f"{flag} is needed: the folder of a run.")
    folder = Path(workdir).expanduser()
    stored = load_options(folder) if (folder / OPTIONS_FILE).exists() else None
    if stored is None:
        raise UserError(f"{flag}={folder} holds no run. Give the folder of one.")
    if stored["script"] not in scripts:
        raise UserError(
            f"{flag}={folder} holds a run of {stored['script']}, not of {' or '.join(scripts)}."
        )
    flags = _LATER_FLAGS | stored["flags"] | ({"data_dir": data_dir} if data_dir else {})
    return Run(folder, SimpleNamespace(**flags), stored)


def load_evaluation(workdir: Path) -> dict:
    """What evaluation.json of a run holds.

    Raises:
        UserError: another version of this program wrote it.
    """
    path = workdir / "evaluation.json"
    evaluation = json.loads(path.read_text())
    if evaluation.get("schema") != SCHEMA:
        raise UserError(
            f"{path} is of schema {evaluation.get('schema', 'none')}, and {SCHEMA} is needed. To "
            f"write it anew:\n  python experiments/evaluate.py --workdir={workdir}"
        )
    return evaluation


def load_utility(workdir: Path) -> dict | None:
    """What utility.py found with a run and left in its folder; None where it was not run."""
    path = workdir / UTILITY_FILE
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    return {name: found[name] for name in _UTILITY}


def load_checkpoint(
    wanted: str,
    workdir: Path,
    create_state: Callable[[], Any],
    devices: Sequence[jax.Device] | None = None,
) -> Any:
    """The state that "last", "best" or a step means.

    Args:
        wanted: one of them.
        workdir: the run's folder.
        create_state: makes a state like it.
        devices: where to place it; None for the first.

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    devices = devices or choose_devices(1)
    like = describe_state(create_state, devices)
    with Checkpoints(workdir / "checkpoints", read_only=True, devices=devices) as checkpoints:
        if not checkpoints.steps:
            raise UserError(f"{checkpoints.folder} holds no checkpoint yet. Train the run first.")
        if wanted == "last":
            _, state = checkpoints.restore_newest(like)
            return state
        if wanted == "best" and checkpoints.best_step is not None:
            return checkpoints.restore(checkpoints.best_step, like)
        if wanted.isdecimal():
            return checkpoints.restore(int(wanted), like)
        raise UserError(
            f"--checkpoint={wanted}: last, best (where epochs have a score) or a step of "
            f"{checkpoints.steps} is needed."
        )

"""The folder of one run, and options.json, which says what the run is."""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from brainsynth_jax.errors import UserError
from brainsynth_jax.files import locked, remove_partial_files, write_json

OPTIONS_FILE = "options.json"
_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets", "grain")


def claim_run_folder(runs: Path, name: str) -> Path:
    """Makes the first of runs/NAME-001, runs/NAME-002, ... after the highest that exists.

    Of several runs started together each gets its own.

    Raises:
        UserError: it cannot be made.
    """
    numbers = [
        int(folder.name.removeprefix(f"{name}-"))
        for folder in runs.glob(f"{name}-*")
        if folder.name.removeprefix(f"{name}-").isdecimal()
    ]
    folder = runs / f"{name}-{max(numbers, default=0) + 1:03d}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return claim_run_folder(runs, name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}). Give a --workdir where you may write."
        ) from error
    return folder


@contextmanager
def held_run_folder(workdir: Path) -> Iterator[None]:
    """Keeps other processes out of a run's folder while entered.

    Raises:
        UserError: another process is in it, or it cannot be written to.
    """
    with ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            got_lock = stack.enter_context(locked(workdir / ".lock", waiting=False))
        except OSError as error:
            raise UserError(
                f"--workdir={workdir} cannot be written to ({error.strerror}). Give a folder where "
                "you may write."
            ) from error
        if not got_lock:
            raise UserError(
                f"--workdir={workdir} is in use by another process. Wait for it to end, or give "
                "another folder."
            )
        remove_partial_files(workdir)  # whoever was writing them was killed
        yield


def load_options(workdir: Path) -> dict[str, Any] | None:
    """What `save_options` wrote; None where the folder is new, empty or not there.

    Raises:
        UserError: the path is a file, the folder holds something else, or options.json is damaged.
    """
    path = workdir / OPTIONS_FILE
    if workdir.is_file():
        raise UserError(f"--workdir={workdir} is a file; give a folder, new or of an earlier run.")
    if not path.exists():
        if workdir.is_dir() and any(p.name != ".lock" for p in workdir.iterdir()):
            raise UserError(
                f"--workdir={workdir} is not empty and holds no {OPTIONS_FILE}, so it is not a "
                "run's folder. Nothing was touched; give a new folder."
            )
        return None
    try:
        options = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}); restore it, or start a new --workdir."
        ) from error
    if missing := [name for name in ("script", "flags", "data") if name not in options]:
        raise UserError(f"{path} lacks {', '.join(missing)}; restore it, or start a new --workdir.")
    return options


def save_options(
    workdir: Path,
    script: str,
    flags: Mapping[str, Any],
    data: Mapping,
    devices: Sequence[jax.Device] | None = None,
) -> None:
    """Writes options.json: the resolved flags, versions, devices and data of a run.

    Args:
        workdir: made if it does not exist.
        script: the script's name, "cyclegan".
        flags: every flag's value.
        data: fingerprint, subjects of each split, those left out.
        devices: that share each batch; None for all of this process.

    Raises:
        UserError: the folder cannot be written to.
    """
    options = {
        "script": script,
        "flags": dict(flags),
        "data": dict(data),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in _PACKAGES},
        "devices": [device.device_kind for device in devices or jax.local_devices()],
    }
    write_json(workdir / OPTIONS_FILE, options)


def check_same_options(workdir: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuses to go on with other options than a run began with.

    Args:
        workdir: for the message.
        stored: name -> value the run began with.
        given: name -> value wanted now; names absent from it are not compared.

    Raises:
        UserError: names each difference with both values.
    """
    differences = [
        f"{name} was {stored.get(name)!r} and is now {value!r}"
        for name, value in given.items()
        if stored.get(name) != value
    ]
    if differences:
        raise UserError(
            f"The run in {workdir} began with other options: {'; '.join(differences)}. "
            "Leave these out to go on with the run as it began, or give a new --workdir."
        )

"""Files and folders that are either whole or not there."""

import contextlib
import csv
import fcntl
import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from brainsynth_jax.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` beside `path` and renames it into place; a reader never meets half a file.

    The folder is made where it is missing. Raises UserError when the disk refuses.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written ({error.strerror}). Make room there or give it the right "
            "to be written to, or choose another folder with --workdir or --output_dir."
        ) from error


def remove_partial_files(folder: Path) -> None:
    """Removes what killed processes left of `write_atomically`, where no process writes now."""
    for partial in Path(folder).rglob(".*.partial"):
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping) -> None:
    """Writes JSON for people and programs; NaN and infinity, which it has not, become null.

    Raises UserError when the disk refuses.
    """
    text = json.dumps(_only_finite(content), indent=2, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def write_table(path: Path, rows: Sequence[Mapping]) -> None:
    """Writes rows of the same columns, at least one, as CSV; None becomes an empty cell.

    Raises UserError when the disk refuses.
    """
    content = io.StringIO()
    writer = csv.DictWriter(content, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, content.getvalue().encode())


def _only_finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _only_finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_only_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays as one .npz. Raises UserError when the disk refuses."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote; None where it is missing or damaged."""
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, BadZipFile):
        return None


@contextlib.contextmanager
def locked(path: Path, waiting: bool = True) -> Iterator[bool]:
    """Gives whether the file, made where it is missing, is this process's while entered.

    A dead process holds no lock. Raises OSError when the disk refuses.

    Args:
        path: of the file that stands for what is locked; its folder is there.
        waiting: for another process that holds it; else it is left to that one.
    """
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waiting else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def check_new_folder(folder: Path, flag: str) -> None:
    """Raises UserError where `filled_folder` could not make a folder that a flag names."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(
            f"{flag}={folder} holds something already, and nothing is overwritten. Give a new "
            "folder, or move it away."
        )
    if folder.is_dir() and (folder.resolve() == Path.cwd() or os.path.ismount(folder)):
        raise UserError(
            f"{flag}={folder} is a disk of its own or the folder that you are in, and cannot be "
            "replaced by a filled one. Name a new folder inside it."
        )


@contextlib.contextmanager
def filled_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `folder` when all is written, and else is removed.

    `folder` is new or empty. Raises OSError when the disk refuses, or where another process is
    filling it or was killed while it did.
    """
    folder = Path(folder).resolve()
    unfinished = folder.with_name(folder.name + ".incomplete")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)

"""Folders that are made once and kept: either whole or not there."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from brainsynth_jax.errors import UserError
from brainsynth_jax.files import filled_folder, locked

_SIZES = "sizes.json"


def ensure_folder(folder: Path, make: Callable[[Path], None]) -> None:
    """Sees to it that `folder` is there, whole.

    If it is not there, `make` fills an empty folder beside it, which takes its place when done;
    what an interrupted `make` left is removed. Of several processes, one makes it and the others
    wait. If it is there, its files are compared with those that were made.

    Args:
      folder: in the cache that the flag --cache_dir names.
      make: fills the folder it is given; may raise.

    Raises:
      UserError: the cache can't be written, or a file in `folder` is missing or of another size.
    """
    make_folder(folder, make)
    try:
        expected = json.loads((folder / _SIZES).read_text())
        found = _file_sizes(folder)
        wrong = [name for name, size in expected.items() if found.get(name) != size]
    except (OSError, ValueError, AttributeError):
        wrong = [_SIZES]
    if wrong:
        raise damaged(folder, f"{wrong[0]} is missing or incomplete")


def make_folder(folder: Path, make: Callable[[Path], None], waiting: bool = True) -> None:
    """As `ensure_folder`, but a folder that is there is not looked into.

    Args:
      folder: in the cache.
      make: fills the folder it is given; may raise.
      waiting: for another process that is making it; else it is left to that one.

    Raises:
      UserError: the cache can't be written.
    """
    if not folder.exists():
        with _reporting(folder), _locked(folder, waiting) as got_lock:
            if got_lock and not folder.exists():
                _make(folder, make)


def damaged(folder: Path, what: str) -> UserError:
    """The error that says what is wrong with a folder of the cache and the way out."""
    return UserError(
        f"{folder}: this cache is damaged ({what}); delete this folder and start again, it will "
        "be made anew."
    )


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    # Whoever left this was killed: the folder is locked.
    shutil.rmtree(folder.with_name(folder.name + ".incomplete"), ignore_errors=True)
    with filled_folder(folder) as unfinished:
        make(unfinished)
        (unfinished / _SIZES).write_text(json.dumps(_file_sizes(unfinished), indent=1))


def _file_sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _SIZES
    }


@contextmanager
def _reporting(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--cache_dir: {folder} cannot be written ({error.strerror or error}); name a folder "
            "that can, on a disk with room."
        ) from error


@contextmanager
def _locked(folder: Path, waiting: bool) -> Iterator[bool]:
    """Gives whether the folder is this process's while entered; a dead process holds no lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock"), waiting) as got_lock:
        yield got_lock

"""Files that are either whole or not there."""

import contextlib
import os
from pathlib import Path

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
            f"{path} could not be written ({error.strerror}): the run folder needs a disk that is "
            "writable and has room; free some space or choose another folder with --workdir."
        ) from error

"""What lies in a data folder."""

import os
import re
from collections import Counter
from pathlib import Path

from brainsynth_jax.errors import UserError


def find_files(root: Path) -> tuple[Path, ...]:
    """Every file below `root` in natural order of its path.

    Links are followed. What begins with a dot is left out: hidden files, and the `._` twins that
    macOS puts beside each file in an archive.

    Raises:
      UserError: a folder can't be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(
            f"--data_dir={root}: the folder {error.filename} cannot be read ({error.strerror}); "
            "change its permissions, or name a data folder without it."
        ) from error

    found = []
    entered = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(folder)) in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return tuple(sorted(found, key=natural_order))


def natural_order(path: Path) -> list[tuple[bool, int, str]]:
    """A sorting key by which `x_2` comes before `x_10`."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def count_by_extension(files: tuple[Path, ...]) -> str:
    """'12 .png, 3 .csv', the commonest first; 'no files' if there are none."""
    counts = Counter(_extension(path) for path in files)
    return ", ".join(f"{n} {extension}" for extension, n in counts.most_common(8)) or "no files"


def _extension(path: Path) -> str:
    suffixes = path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]
    return "".join(suffixes).lower() or "without extension"

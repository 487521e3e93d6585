"""Tables that are written a row at a time."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def open_table(
    path: Path, delimiter: str = ",", missing: str = ""
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """While entered, gives what adds a row; all have the names of the first one.

    Lists become JSON. Raises OSError when the disk refuses.

    Args:
        path: of a file to be made.
        delimiter: between cells.
        missing: what stands for None.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        names = []

        def add(row: Mapping[str, Any]) -> None:
            if not names:
                names.extend(row)
                writer.writerow(names)
            writer.writerow([_as_cell(row[name], missing) for name in names])

        yield add


def _as_cell(value: Any, missing: str) -> Any:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return missing if value is None else value

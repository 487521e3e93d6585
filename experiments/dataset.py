"""From a run's data flags to prepared slices, and what is told of them.

`options` holds one attribute for each flag of the script.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from brainsynth_jax.data.hygiene import find_certain_harm
from brainsynth_jax.data.phantom import DEFAULT_SUBJECTS, write_phantom
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.data.scan import Source
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError

_log = logging.getLogger("brainsynth_jax.dataset")


def open_source(
    options: SimpleNamespace, cache_dir: Path, subjects: int = DEFAULT_SUBJECTS
) -> Source:
    """What --data_dir holds, or a phantom of at least so many subjects.

    Raises:
        UserError: the folder cannot be used.
    """
    if options.data_dir is not None:
        return recognise(Path(options.data_dir).expanduser(), options.modality)
    _log.info("No --data_dir: a phantom of brains with gliomas stands in for scans.")
    return recognise(write_phantom(cache_dir, max(subjects, DEFAULT_SUBJECTS)), options.modality)


def parse_slices(text: str | None) -> tuple[int, int] | None:
    """ "60:107" -> (60, 107), the first and the last slice; None and "all" -> None."""
    if text is None or text == "all":
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise UserError(
            f"--slices={text}: the first and the last slice number are needed, FIRST:LAST, such "
            "as 60:107; or all."
        )
    return int(first), int(last)


def describe_data(dataset: SliceDataset) -> dict:
    """What options.json says of the data: who is where, and of what they are a fingerprint."""
    return {
        "fingerprint": dataset.fingerprint,
        "train_subjects": list(dataset.train_subjects),
        "test_subjects": list(dataset.test_subjects),
        "left_out": list(dataset.skipped),
    }


def list_spacing(records: Records) -> list[float | None]:
    """Millimetres between slices, rows and columns, as JSON has them: None where unknown."""
    return [float(mm) if math.isfinite(mm) else None for mm in records[0]["spacing_mm"]]


def note_data(options: SimpleNamespace, dataset: SliceDataset) -> list[str]:
    """What a reader of the report has to know of the data."""
    notes = []
    if options.data_dir is None:
        notes.append("The data are a phantom made by this program, not scans of patients.")
    if dataset.skipped:
        notes.append(f"{len(dataset.skipped)} subjects were left out: {' '.join(dataset.skipped)}")
    return notes


def list_subjects(names: Sequence[str], shown: int = 20) -> str:
    """ "3 subjects (Ann, Bob, Cid)"; of many, the first."""
    more = len(names) - shown
    text = ", ".join(names[:shown]) or "none"
    if more > 0:
        text += f" and {more} more, all in options.json"
    return f"{len(names)} subject{'' if len(names) == 1 else 's'} ({text})"


def list_left_out(problems: Sequence[str], shown: int = 20) -> list[str]:
    """Lines on the subjects that were left out; none where all were used."""
    if not problems:
        return []
    more = [f"  and {len(problems) - shown} more, all in options.json"]
    return [
        f"Left out: {len(problems)} subjects.",
        *(f"  {problem}" for problem in problems[:shown]),
        *(more if len(problems) > shown else []),
    ]


def warn_of_data(options: SimpleNamespace, dataset: SliceDataset, masks: bool = True) -> list[str]:
    """Lines on what spoils any run; `masks` is whether the run uses them."""
    where = f" --data_dir={options.data_dir}" if options.data_dir else ""
    return [
        f"warning: {finding.what} ({finding.where}). "
        f"python experiments/check_data.py{where} says more."
        for finding in find_certain_harm(dataset, masks)
    ]

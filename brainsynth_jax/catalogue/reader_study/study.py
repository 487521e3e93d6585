"""A reader study: slices that readers call real or synthetic, and what they called them.

A study is a folder. `slices/0001.png` and on are what readers see, `study.json` says what has to be
known to show them, and neither tells which are real. `key.json` tells it, and may be kept elsewhere
until the answers are analysed. `answers.jsonl` has a line for each answer.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainsynth_jax.catalogue.words import clean_text, shuffled
from brainsynth_jax.data.pictures import load_grey, save_levels
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import check_new_folder, filled_folder, write_json

REAL, SYNTHETIC = "real", "synthetic"
CALLS = (REAL, SYNTHETIC)
MOST_CONFIDENT = 5  # of 1 to 5

STUDY_FILE, KEY_FILE, ANSWERS_FILE = "study.json", "key.json", "answers.jsonl"

# To be raised where the meaning of what these files hold changes.
SCHEMA = 1

_MOST_SLICES = 9999
_LONGEST_TITLE = 200
# Of all slices, so that it tells nothing of any: the first second of 2000.
_FILE_TIME = 946_684_800


class RealSource(NamedTuple):
    """Where a real slice comes from.

    Attributes:
        subject_hash: of the subject's name, hexadecimal SHA-256; never the name.
        slice_number: in the subject's volume.
    """

    subject_hash: str
    slice_number: int


class SyntheticSource(NamedTuple):
    """Where a synthetic slice comes from.

    Attributes:
        image_id: its number in the catalogue.
        content_hash: of its pixels, as it stands there.
    """

    image_id: int
    content_hash: str


class Sources(NamedTuple):
    """Where slices come from, one each."""

    real: Sequence[RealSource]
    synthetic: Sequence[SyntheticSource]


class Study(NamedTuple):
    """What is known of a study without its key.

    Attributes:
        folder: where it lies.
        title: what it is called.
        seed: of the readers' orders.
        real_subjects: of how many subjects its real slices are.
        count: of slices, half of them real; they are numbered from 1.
        digest: of all slices' pixels, hexadecimal SHA-256; the key has the same.
    """

    folder: Path
    title: str
    seed: int
    real_subjects: int
    count: int
    digest: str


def create_study(
    folder: Path,
    real: np.ndarray,
    synthetic: np.ndarray,
    sources: Sources,
    count: int,
    seed: int,
    title: str,
    floor: int = 16,
) -> Study:
    """Draws as many real as synthetic slices, and writes them, mixed, into a folder of their own.

    What is drawn is a function of the seed and of the slices: who knows the seed alone, which every
    reader can read, learns nothing of which are real.

    Args:
        folder: new or empty.
        real: (N, S, S) uint8, black to white.
        synthetic: (M, S, S) uint8.
        sources: of these, in their order.
        count: of slices to be shown; even, 9,998 at most, and half of it at most N and M.
        seed: any integer.
        title: of 1 to 200 characters.
        floor: levels below it become black, in all slices. A program's background is never quite
            black, which a bright window would show to who knows.

    Raises:
        UserError: sizes that differ, too few slices, a count, title or folder that can't be used.
        ValueError: arrays of another kind, or sources of another number.
    """
    folder = Path(folder).expanduser().absolute()
    _check_slices(real, synthetic, sources)
    _check_count(count, len(real), len(synthetic))
    title = clean_text(title, _LONGEST_TITLE, "A study's title")
    real, synthetic = (np.where(part < floor, np.uint8(0), part) for part in (real, synthetic))
    drawn = _draw(real, synthetic, sources, count, seed)
    subjects = {source.subject_hash for _, truth, source in drawn if truth == REAL}
    digest = _digest(levels for levels, _, _ in drawn)
    study = Study(folder, title, seed, len(subjects), count, digest)
    try:
        check_new_folder(folder, "--study")
        with filled_folder(folder) as unfinished:
            for number, (levels, _, _) in enumerate(drawn, 1):
                path = slice_path(study._replace(folder=unfinished), number)
                save_levels(path, levels, compressed=False)
                os.utime(path, (_FILE_TIME, _FILE_TIME))
            described = study._asdict() | {"schema": SCHEMA}
            del described["folder"]
            write_json(unfinished / STUDY_FILE, described)
            write_json(unfinished / KEY_FILE, _describe_key(study, drawn))
            (unfinished / ANSWERS_FILE).touch()
    except OSError as error:
        raise UserError(
            f"{folder} could not be made ({error.strerror}). Give a new folder where you may "
            f"write; what a stopped attempt left, {folder.name}.incomplete, may be deleted."
        ) from error
    return study


def open_study(folder: Path) -> Study:
    """The study in a folder; its key is not needed.

    Raises:
        UserError: there is none, or it is damaged or of a newer version.
    """
    folder = Path(folder).expanduser().absolute()
    found = _read_described(folder / STUDY_FILE)
    try:
        kinds = {"title": str, "seed": int, "real_subjects": int, "count": int, "digest": str}
        fields = {name: found[name] for name in kinds}
        if any(type(fields[name]) is not kind for name, kind in kinds.items()):
            raise TypeError
    except (KeyError, TypeError):
        raise UserError(
            f"{folder / STUDY_FILE} is damaged: it does not say what a study's does. Take it from "
            "a copy of the study."
        ) from None
    return Study(folder=folder, **fields)


def check_shown_slices(study: Study) -> None:
    """Raises UserError where the slices are not those that the study was made of."""
    paths = (slice_path(study, number) for number in range(1, study.count + 1))
    if _digest(load_grey(path).astype(np.uint8) for path in paths) != study.digest:
        raise UserError(
            f"The slices of the study in {study.folder} are not those that it was made of. Take "
            "them from a copy of the study, or create it anew."
        )


def slice_path(study: Study, number: int) -> Path:
    """The PNG of a slice, by its number from 1."""
    return study.folder / "slices" / f"{number:04d}.png"


def load_key(study: Study, path: Path | None = None) -> dict[int, str]:
    """Which slices are what: number -> one of `CALLS`.

    Args:
        study: whose key it is.
        path: of the key, where it does not lie in the study's folder.

    Raises:
        UserError: it is not there, damaged, or another study's.
    """
    path = Path(path or study.folder / KEY_FILE)
    found = _read_described(path)
    if found.get("digest") != study.digest:
        raise UserError(f"{path} is the key of another study than the one in {study.folder}.")
    try:
        key = {entry["number"]: entry["truth"] for entry in found["slices"]}
        if sorted(key) != list(range(1, study.count + 1)) or not set(key.values()) <= set(CALLS):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} is damaged: it does not tell for each of {study.count} slices whether it is "
            "real. Take it from a copy of the study."
        ) from None
    return key


def _digest(slices: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for levels in slices:
        digest.update(levels.tobytes())
    return digest.hexdigest()


def _check_slices(real: np.ndarray, synthetic: np.ndarray, sources: Sources) -> None:
    for slices, of in zip((real, synthetic), sources, strict=True):
        if slices.dtype != np.uint8 or slices.ndim != 3 or slices.shape[1] != slices.shape[2]:
            raise ValueError(f"(N, S, S) uint8 is needed, got {slices.shape} {slices.dtype}.")
        if len(of) != len(slices):
            raise ValueError(f"One source a slice is needed, got {len(of)} of {len(slices)}.")
    if real.shape[1] != synthetic.shape[1]:
        sides = " and ".join(f"{side} x {side}" for side in (real.shape[1], synthetic.shape[1]))
        raise UserError(
            f"Real and synthetic slices of different sizes, {sides} pixels, are told apart by that "
            "alone. Prepare the real ones with --image_size of the synthetic ones."
        )


def _check_count(count: int, real: int, synthetic: int) -> None:
    if type(count) is not int or not 2 <= count <= _MOST_SLICES or count % 2:
        raise UserError(
            f"A study of {count} slices can't be made: half of them are real, so an even number "
            f"from 2 to {_MOST_SLICES - 1:,} is needed."
        )
    if count // 2 > min(real, synthetic):
        raise UserError(
            f"A study of {count} slices needs {count // 2} real and as many synthetic ones, and "
            f"there are {real:,} and {synthetic:,}. Ask for {2 * min(real, synthetic):,} at most, "
            "or bring more."
        )


def _draw(
    real: np.ndarray, synthetic: np.ndarray, sources: Sources, count: int, seed: int
) -> list[tuple[np.ndarray, str, RealSource | SyntheticSource]]:
    """(pixels, truth, source) of each slice that is shown, in the order of their numbers."""
    # By the seed alone, a reader could do this again, and would know the truth of each number.
    secret = hashlib.sha256(real.tobytes() + synthetic.tobytes()).hexdigest()
    salt = f"{seed}:{secret}"
    pools = {REAL: (real, sources.real), SYNTHETIC: (synthetic, sources.synthetic)}
    drawn = [
        (truth, index)
        for truth, (slices, _) in pools.items()
        for index in shuffled(range(len(slices)), f"{salt}:{truth}")[: count // 2]
    ]
    mixed = [drawn[place] for place in shuffled(range(count), f"{salt}:mixed")]
    return [(pools[truth][0][index], truth, pools[truth][1][index]) for truth, index in mixed]


def _describe_key(study: Study, drawn: Iterable[tuple[np.ndarray, str, Any]]) -> dict[str, Any]:
    slices = [
        {"number": number, "truth": truth, **source._asdict()}
        for number, (_, truth, source) in enumerate(drawn, 1)
    ]
    return {"schema": SCHEMA, "title": study.title, "digest": study.digest, "slices": slices}


def _read_described(path: Path) -> Mapping[str, Any]:
    """A JSON object of a schema that is known."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is not there. Give the folder of a study, or its key.") from None
    except OSError as error:
        raise UserError(f"{path} could not be read ({error.strerror}).") from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or type(found.get("schema")) is not int:
        raise UserError(f"{path} is damaged. Take it from a copy of the study.")
    if found["schema"] > SCHEMA:
        raise UserError(
            f"{path} was made by a newer version of brainsynth_jax (its schema is "
            f"{found['schema']}, known are up to {SCHEMA}). Use that version."
        )
    return found

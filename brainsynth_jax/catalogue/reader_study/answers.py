"""What readers called a study's slices: a line for each answer, and none is ever changed."""

import json
import math
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from brainsynth_jax.catalogue.reader_study.study import (
    ANSWERS_FILE,
    CALLS,
    MOST_CONFIDENT,
    Study,
)
from brainsynth_jax.catalogue.words import clean_text, shuffled
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import locked

_LOCK_FILE = ".answers.lock"
_LONGEST_NAME = 100
LONGEST_SECONDS = 1e6  # some page stays open over the holidays


class Answer(NamedTuple):
    """What a reader called a slice.

    Attributes:
        reader: a name or initials.
        number: of the slice.
        says: one of `CALLS`.
        confidence: 1 (a guess) to 5 (certain).
        seconds: that the reader looked at it.
        at: when it came, in UTC, as ISO 8601 writes it.
    """

    reader: str
    number: int
    says: str
    confidence: int
    seconds: float
    at: str


def clean_reader(reader: str) -> str:
    """A reader's name as it is kept: without spaces around it, each letter in one form only.

    Raises:
        UserError: no name, one of more than 100 characters, or with such as can't be seen.
    """
    return clean_text(reader, _LONGEST_NAME, "A reader's name")


def order_for(study: Study, reader: str) -> list[int]:
    """All slices' numbers in this reader's own order: a function of the seed and the name.

    Ann and ann are one reader.

    Raises:
        UserError: as `clean_reader`.
    """
    return shuffled(range(1, study.count + 1), f"{study.seed}:{clean_reader(reader).casefold()}")


def next_slice(study: Study, reader: str) -> int | None:
    """The first slice in the reader's order without an answer; None where all have one.

    Raises:
        UserError: as `clean_reader` and `read_answers`.
    """
    answered = {answer.number for answer in answers_by(study, reader)}
    return next((number for number in order_for(study, reader) if number not in answered), None)


def record_answer(
    study: Study, reader: str, number: int, says: str, confidence: int, seconds: float
) -> Answer:
    """Keeps an answer. It is on the disk when this returns; several processes may do it at once.

    Raises:
        UserError: a value that is not allowed, a slice that the reader answered before, a damaged
            file, or the disk refuses.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answer = Answer(clean_reader(reader), number, says, confidence, seconds, now)
    _check_answer(study, answer)
    answer = answer._replace(seconds=round(float(seconds), 3))
    path = study.folder / ANSWERS_FILE
    try:
        with locked(study.folder / _LOCK_FILE), path.open("a+b") as file:
            file.seek(0)
            content = file.read()
            answers, whole = _parse_answers(study, content)
            answer = answer._replace(reader=_spell(answer.reader, answers))
            if any((a.reader, a.number) == (answer.reader, number) for a in answers):
                raise UserError(
                    f"{answer.reader} answered slice {number} before, and the first answer counts; "
                    "go on with the next one."
                )
            file.truncate(whole)
            end = b"" if content[:whole].endswith(b"\n") or not whole else b"\n"
            file.write(end + json.dumps(answer._asdict()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror}); the answer to slice {number} is not "
            "kept. Make room there or give it the right to be written to."
        ) from error
    return answer


def read_answers(study: Study) -> list[Answer]:
    """All readers' answers, oldest first: of each reader the first to each slice.

    A last line that was cut off is left out.

    Raises:
        UserError: the file can't be read, or another line is damaged.
    """
    path = study.folder / ANSWERS_FILE
    try:
        return _parse_answers(study, path.read_bytes() if path.exists() else b"")[0]
    except OSError as error:
        raise UserError(
            f"{path} could not be read ({error.strerror}); give it the right to be read."
        ) from error


def answers_by(study: Study, reader: str) -> list[Answer]:
    """One reader's answers, oldest first.

    Raises:
        UserError: as `clean_reader` and `read_answers`.
    """
    answers = read_answers(study)
    reader = _spell(clean_reader(reader), answers)
    return [answer for answer in answers if answer.reader == reader]


def _spell(reader: str, answers: Iterable[Answer]) -> str:
    """A reader's name as it stands with their first answer."""
    same = (a.reader for a in answers if a.reader.casefold() == reader.casefold())
    return next(same, reader)


def _parse_answers(study: Study, content: bytes) -> tuple[list[Answer], int]:
    """The answers that count, and how many bytes are whole lines: all but a torn end."""
    *lines, rest = content.split(b"\n")
    answers, whole = {}, len(content) - len(rest)
    for place, line in enumerate(lines, 1):
        if line.strip():
            try:
                answer = _parse_answer(study, line)
            except UserError as error:
                raise UserError(
                    f"{study.folder / ANSWERS_FILE}, line {place}, is no answer: {error} Take the "
                    "file from a copy, or remove the line."
                ) from None
            answers.setdefault((answer.reader, answer.number), answer)
    try:
        answer = _parse_answer(study, rest)
    except UserError:
        return list(answers.values()), whole
    answers.setdefault((answer.reader, answer.number), answer)
    return list(answers.values()), len(content)


def _parse_answer(study: Study, line: bytes) -> Answer:
    try:
        answer = Answer(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        raise UserError("It does not say what an answer says.") from None
    _check_answer(study, answer)
    return answer


def _check_answer(study: Study, answer: Answer) -> None:
    """Raises UserError where a value is not allowed."""
    if clean_reader(answer.reader) != answer.reader:
        raise UserError(f"{answer.reader!r} is not a name as it is kept.")
    if type(answer.number) is not int or not 1 <= answer.number <= study.count:
        raise UserError(
            f"Slice {answer.number!r} is not in this study; its slices are numbered from 1 to "
            f"{study.count}."
        )
    if answer.says not in CALLS:
        raise UserError(f"A slice is called {' or '.join(CALLS)}, not {answer.says!r}.")
    if type(answer.confidence) is not int or not 1 <= answer.confidence <= MOST_CONFIDENT:
        raise UserError(
            f"A confidence is a whole number from 1 to {MOST_CONFIDENT}, not {answer.confidence!r}."
        )
    known = type(answer.seconds) in (int, float) and math.isfinite(answer.seconds)
    if not known or not 0 <= answer.seconds <= LONGEST_SECONDS:
        raise UserError(
            f"The seconds of an answer are a number from 0 to {LONGEST_SECONDS:,.0f}, not "
            f"{answer.seconds!r}."
        )
    try:
        datetime.fromisoformat(answer.at)
    except (ValueError, TypeError):
        raise UserError(f"{answer.at!r} is no time.") from None

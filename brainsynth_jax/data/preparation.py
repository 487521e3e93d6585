"""From a source's scans to one folder of prepared slices, with the help of other processes.

The subjects are cut into parts, each a folder beside the one to be made. Processes that prepare the
same folder at the same time, on one machine or on several that share the cache, share the parts;
one that is killed leaves those that it finished to the next. When all are there they are joined.
"""

import contextlib
import hashlib
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from brainsynth_jax.data.cache import ensure_folder, make_folder
from brainsynth_jax.data.scan import Source, Subject
from brainsynth_jax.data.slices import Record, SliceOptions, prepare_picture, prepare_scan
from brainsynth_jax.data.tfds_builder import join_slices, write_slices
from brainsynth_jax.errors import UserError
from brainsynth_jax.progress import Progress

PROBLEMS_SHOWN = 10

PAIRED = "slices"
RECORDS = "records"
CONTENTS = "contents.json"

_FEWEST_IN_A_PART, _MOST_PARTS = 16, 64
# Threads read, scale and resize; more of them than these wait for each other, processes do not.
_LOADING_THREADS = min(4, os.cpu_count() or 1)
_PROCESSES = max(1, (os.cpu_count() or 1) // _LOADING_THREADS)
_HELPER = "brainsynth_jax.data.preparation_helper"

Item = TypeVar("Item")
Result = TypeVar("Result")


class SubjectSlices(NamedTuple):
    """A stretch of the prepared slices: those of one subject, in slice order."""

    domain: str  # a key of `Source.domains`, or 'slices' for the paired
    name: str
    patient: str
    count: int


class NoSlices(Exception):
    """There is nothing to prepare, and an empty folder can't be written."""


def prepare_folder(
    source: Source, options: SliceOptions, folder: Path, show_progress: bool
) -> None:
    """Sees to it that `folder`, in the cache, holds the source's slices: `RECORDS` and `CONTENTS`.

    Args:
      source: of `sources.recognise`.
      options: how scans become slices.
      folder: in the cache.
      show_progress: whether a person is told how far it is.

    Raises:
      UserError: subjects that can't be used (without `options.skip_bad_subjects`), no slices, a
        cache that can't be written or is damaged.
      NoSlices: only slices without tumour are wanted, and there are none.
    """
    groups = _cut(source)
    parts = _parts(folder, groups)
    if not folder.exists():
        with _helpers(source, options, folder, min(_PROCESSES, len(groups)) - 1):
            prepare_parts(source, options, folder, show_progress)

    def fill(new: Path) -> None:
        prepare_parts(source, options, folder)  # should another process have removed them
        _join(source, options, parts, new)

    try:
        ensure_folder(folder, fill)
    finally:
        shutil.rmtree(_parts_folder(folder), ignore_errors=True)


def prepare_parts(
    source: Source, options: SliceOptions, folder: Path, show_progress: bool = False
) -> None:
    """Prepares the parts of `folder`, each a folder of its own, until `folder` or all are there.

    Processes that do this at the same time, on one machine or on several that share the cache,
    share the parts. One that is killed leaves those that it finished to the next.

    Args:
      source: of `sources.recognise`.
      options: how scans become slices.
      folder: in the cache, to be made of the parts.
      show_progress: whether a person is told how far it is.
    """
    groups = _cut(source)
    total = sum(map(len, groups))
    with Progress("preparing slices", total, "subject", shown=show_progress) as progress:
        told = set()
        for waiting in (False, True):  # what nobody makes; then for what others make, or made half
            for part, group in zip(_parts(folder, groups), groups, strict=True):
                if folder.exists():
                    return

                before = progress.done

                def fill(new: Path, group=group) -> None:
                    if not folder.exists():
                        _prepare_part(group, options, new, progress.advance)

                make_folder(part, fill, waiting)
                if progress.done > before:
                    told.add(part)
                elif part not in told and part.exists():  # by another process
                    told.add(part)
                    progress.advance(len(group))


@contextlib.contextmanager
def _helpers(source: Source, options: SliceOptions, folder: Path, count: int) -> Iterator[None]:
    """So many processes do `prepare_parts`, too; waited for, and stopped where the body fails."""
    helpers = []
    try:
        for _ in range(count):
            helpers.append(subprocess.Popen([sys.executable, "-m", _HELPER], stdin=subprocess.PIPE))
            with contextlib.suppress(BrokenPipeError), helpers[-1].stdin as pipe:
                pickle.dump((source, options, folder), pipe)
        yield
    except BaseException:
        for helper in helpers:
            helper.terminate()
        raise
    finally:
        for helper in helpers:
            helper.wait()


def _prepare_part(
    group: Sequence[tuple[str, Subject]],
    options: SliceOptions,
    folder: Path,
    advance: Callable[[], None],
) -> None:
    table, problems, without, digests = [], [], [], []

    def records() -> Iterator[Record]:
        for (domain, subject), outcome in _in_parallel(
            lambda item: _load_subject(*item, options), group
        ):
            advance()
            if isinstance(outcome, UserError):
                problems.append(f"{subject.name}: {outcome}")
            elif not outcome:
                without.append(
                    f"{subject.name}: no slice with {options.min_tumor_area_pixels} or more "
                    "pixels of tumour"
                )
            else:
                table.append(SubjectSlices(domain, subject.name, subject.patient, len(outcome)))
                digest = hashlib.sha256()
                for record in outcome:
                    digest.update(_identity(record))
                    yield record
                digests.append(digest.hexdigest())
        if not table:
            raise NoSlices

    with contextlib.suppress(NoSlices):
        write_slices(folder / RECORDS, records(), options.image_size)
    contents = {"table": table, "problems": problems, "without": without, "digests": digests}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1))


def _join(source: Source, options: SliceOptions, parts: Sequence[Path], folder: Path) -> None:
    found = [json.loads((part / CONTENTS).read_text()) for part in parts]
    table, problems, without, digests = (
        [row for contents in found for row in contents[name]]
        for name in ("table", "problems", "without", "digests")
    )
    problems = [*source.problems, *problems]
    _check_outcome(source, options, table, problems, without)
    join_slices([part / RECORDS for part in parts if (part / RECORDS).exists()], folder / RECORDS)
    contents = {
        "table": table,
        "skipped": problems + without,
        "digest": hashlib.sha256("".join(digests).encode()).hexdigest(),
    }
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1))


def _cut(source: Source) -> list[list[tuple[str, Subject]]]:
    """Domain and subject of all that is to be prepared, in groups that make a part each."""
    groups = source.domains or {PAIRED: source.subjects}
    subjects = [(domain, subject) for domain, group in groups.items() for subject in group]
    size = max(_FEWEST_IN_A_PART, math.ceil(len(subjects) / _MOST_PARTS))
    return [subjects[start : start + size] for start in range(0, len(subjects), size)]


def _parts(folder: Path, groups: Sequence) -> list[Path]:
    return [_parts_folder(folder) / f"{number:03d}" for number in range(len(groups))]


def _parts_folder(folder: Path) -> Path:
    return folder.with_name(folder.name + ".parts")


def _load_subject(domain: str, subject: Subject, options: SliceOptions) -> list[Record] | UserError:
    try:
        scan = subject.load()
        if domain == PAIRED:
            return prepare_scan(subject.name, scan, options)
        return prepare_picture(
            subject.name, scan, options.image_size, is_mask=domain.endswith("_b")
        )
    except UserError as error:
        return error


def _identity(record: Record) -> bytes:
    """What makes a slice this slice; not the statistics, which may round as machines do."""
    name = json.dumps([record["subject"], record["slice_number"]])
    return name.encode() + record["image"].tobytes() + record["tissue"].tobytes()


def _in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order, with a few worked on ahead in threads."""
    with ThreadPoolExecutor(_LOADING_THREADS) as pool:
        pending = deque()
        for item in items:
            pending.append((item, pool.submit(function, item)))
            if len(pending) > _LOADING_THREADS:
                done, future = pending.popleft()
                yield done, future.result()
        for done, future in pending:
            yield done, future.result()


def _check_outcome(
    source: Source,
    options: SliceOptions,
    table: Sequence[SubjectSlices],
    problems: Sequence[str],
    without: Sequence[str],
) -> None:
    if problems and not options.skip_bad_subjects:
        shown = [f"  {problem.rstrip('.')}" for problem in problems[:PROBLEMS_SHOWN]]
        if more := len(problems) - len(shown):
            shown.append(f"  and {more} more")
        way_on = ", or go on without them by --skip_bad_subjects" if table or without else ""
        raise UserError(
            f"--data_dir={source.root}: {len(problems)} of "
            f"{len(problems) + len(table) + len(without)} subjects can't be used:\n"
            + "\n".join(shown)
            + f"\nMend them{way_on}."
        )
    if not table and options.empty_slices:
        raise NoSlices
    if not table and without:
        raise UserError(
            f"--min_tumor_area_pixels={options.min_tumor_area_pixels}: no slice of the "
            f"{len(without)} usable subjects shows so much tumour; ask for less."
        )
    if not table:
        raise UserError(
            f"--data_dir={source.root}: none of its {len(problems)} subjects can be used; the "
            f"first problem is: {problems[0]}"
        )

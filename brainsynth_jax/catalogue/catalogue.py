"""Synthetic images kept in a folder of files, with a database that says what each of them is.

Images come in batches. A batch's files are written into a folder of their own, and its rows come
last, all at once: so a row has its file. What a killed process left, a folder that is marked as
being written and that no row names, is removed when a catalogue is opened: so a file has its row.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from brainsynth_jax.catalogue.database import (
    connect,
    hide_password,
    is_sqlite,
    told_plainly,
    upgrade,
)
from brainsynth_jax.catalogue.filters import EVERYTHING, Filter, choose
from brainsynth_jax.catalogue.image_files import Pixels, content_hash, load_pixels, save_pixels
from brainsynth_jax.catalogue.tables import REVIEWS, BatchRow, ImageRow, OriginRow, ReviewRow
from brainsynth_jax.catalogue.words import clean_text
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import locked

# Images whose rows come together. A process that is killed loses those of the last batch.
_BATCH = 500

_CATALOGUE_LOCK, _BATCH_LOCK = ".lock", ".writing"
_LONGEST_NOTE, _LONGEST_NAME = 2000, 100


class Origin(NamedTuple):
    """What images were made by, and of what; see `OriginRow`."""

    model: str
    run: str
    step: int
    checkpoint_hash: str
    code_version: str
    options: dict[str, Any]
    data_fingerprint: str
    subjects: Sequence[str]
    spacing_mm: Sequence[float | None]

    @property
    def digest(self) -> str:
        """The same for equal origins."""
        return hashlib.sha256(json.dumps(self, sort_keys=True).encode()).hexdigest()


class Scores(NamedTuple):
    """What was measured of an image; None for what was not. See `ImageRow`."""

    realism: float | None = None
    copy_distance: float | None = None
    copy_verdict: str | None = None
    tumor_pixels: int | None = None
    tumor_row: float | None = None
    tumor_column: float | None = None


class NewImage(NamedTuple):
    """An image that is to come into the catalogue."""

    seed: int
    number: int
    pixels: Pixels
    scores: Scores = Scores()


class Catalogue:
    """An open catalogue. Several processes may have the same one open, and write to it.

    Args:
        url: of its database, see `database.connect`.
        folder: of its files; made where it is missing.

    Raises:
        UserError: the database or the folder cannot be used.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = Path(folder)
        self._engine = connect(url)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / _CATALOGUE_LOCK):
                upgrade(self._engine)
                self._remove_unfinished()
        except OSError as error:
            raise UserError(
                f"{folder}: the catalogue's folder cannot be used ({error.strerror}). Give one "
                "where you may write."
            ) from error

    @property
    def name(self) -> str:
        """The database as --database takes it, without its password."""
        return hide_password(self._engine.url)

    @property
    def public_name(self) -> str:
        """The same for who knows nothing of this machine."""
        return Path(self.name).name if is_sqlite(str(self._engine.url)) else "DATABASE"

    def add(self, origin: Origin, images: Iterable[NewImage]) -> Iterator[int]:
        """Takes images in, a batch at a time, and tells after each how many came new.

        Those that are there already, of the same origin, seed and number, are left as they are.

        Raises:
            UserError: the disk or the database refuses; batches told before stay.
        """
        images = iter(images)
        while batch := list(islice(images, _BATCH)):
            try:
                added = self._add_batch(origin, batch)
            except IntegrityError:  # meanwhile another process brought some of them
                added = self._add_batch(origin, batch)
            yield added

    def find(
        self,
        wanted: Filter = EVERYTHING,
        after: int = 0,
        limit: int = 100,
        before: int | None = None,
    ) -> list[ImageRow]:
        """Images in the order in which they came.

        The first `limit` beyond number `after`, or the last `limit` below `before`.
        """
        query = choose(select(ImageRow), wanted).limit(limit)
        if before is None:
            query = query.where(ImageRow.id > after).order_by(ImageRow.id)
        else:
            query = query.where(ImageRow.id < before).order_by(ImageRow.id.desc())
        with self._session() as session:
            return sorted(session.scalars(query), key=lambda image: image.id)

    def runs(self) -> list[str]:
        """Folders of all runs that drew images."""
        with self._session() as session:
            return list(session.scalars(select(OriginRow.run).distinct().order_by(OriginRow.run)))

    def each(self, wanted: Filter = EVERYTHING) -> Iterator[ImageRow]:
        """All of them, in the order in which they came, however many they are."""
        last = 0
        while found := self.find(wanted, after=last):
            yield from found
            last = found[-1].id

    def count(self, wanted: Filter = EVERYTHING) -> int:
        """How many images there are."""
        with self._session() as session:
            return session.scalar(choose(select(func.count(ImageRow.id)), wanted))

    def get(self, image_id: int) -> ImageRow:
        """One image's row.

        Raises:
            UserError: there is none of that number.
        """
        with self._session() as session:
            found = session.get(ImageRow, image_id)
            if found is None:
                raise UserError(f"Image {image_id} is not in {self.name}.")
            return found

    def load(self, image: ImageRow) -> Pixels:
        """An image's pixels.

        Raises:
            UserError: a file is missing, damaged, or not what came into the catalogue.
        """
        folder = self._folder_of(image)
        pixels = load_pixels(folder, image.number, image.has_mask)
        if content_hash(pixels) != image.content_hash:
            raise UserError(
                f"Image {image.id} in {folder} is not what came into the catalogue: it was altered "
                f"since. Put the file back, or make the image again: --reproduce={image.id}"
            )
        return pixels

    def put_back(self, image: ImageRow, pixels: Pixels) -> bool:
        """Writes an image's files again where they are missing or altered; says whether they were.

        Raises:
            ValueError: these are other pixels than came in.
            UserError: the disk refuses.
        """
        if content_hash(pixels) != image.content_hash:
            raise ValueError(f"Image {image.id} has other pixels than these.")
        try:
            self.load(image)
        except UserError:
            save_pixels(self._folder_of(image), image.number, pixels)
            return True
        return False

    def review(self, image_id: int, reviewer: str, verdict: str, note: str = "") -> None:
        """Adds what somebody thinks of an image.

        Raises:
            UserError: no such image, no name, an unknown verdict, or a text that is too long.
        """
        if verdict not in REVIEWS:
            raise UserError(f"A review says one of {', '.join(REVIEWS)}, not {verdict!r}.")
        reviewer = clean_text(reviewer, _LONGEST_NAME, "A reviewer's name")
        if len(note) > _LONGEST_NOTE or "\0" in note:
            raise UserError(
                f"A review's note is text of {_LONGEST_NOTE:,} characters at most; this one has "
                f"{len(note):,}."
            )
        self.get(image_id)
        with self._session() as session:
            row = ReviewRow(image_id=image_id, reviewer=reviewer, verdict=verdict, note=note)
            session.add(row)
            session.commit()

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    def _folder_of(self, image: ImageRow) -> Path:
        return self.folder / image.batch.folder / str(image.seed)

    def _add_batch(self, origin: Origin, images: Sequence[NewImage]) -> int:
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        folder = self.folder / name
        with self._session() as session:
            origin_id = _ensure_origin(session, origin)
            images = _leave_out_known(session, origin_id, images)
        if not images:
            return 0
        with ExitStack() as stack:
            with locked(self.folder / _CATALOGUE_LOCK):
                folder.mkdir()
                stack.enter_context(locked(folder / _BATCH_LOCK))
            try:
                for image in images:
                    save_pixels(folder / str(image.seed), image.number, image.pixels)
                with self._session() as session:
                    _insert(session, origin_id, name, images)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        (folder / _BATCH_LOCK).unlink()
        return len(images)

    def _remove_unfinished(self) -> None:
        """Removes what killed processes left; to be called with the catalogue's lock held."""
        with self._session() as session:
            for lock in self.folder.glob(f"*/{_BATCH_LOCK}"):
                with suppress(FileNotFoundError), locked(lock, waiting=False) as got_lock:
                    folder = lock.parent
                    known = select(BatchRow.id).where(BatchRow.folder == folder.name)
                    if got_lock and session.scalar(known) is None:
                        shutil.rmtree(folder)
                    elif got_lock:
                        lock.unlink()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with told_plainly(self._engine), Session(self._engine, expire_on_commit=False) as session:
            yield session


def _ensure_origin(session: Session, origin: Origin) -> int:
    """The number of its row, which is made where it is missing."""
    query = select(OriginRow.id).where(OriginRow.digest == origin.digest)
    found = session.scalar(query)
    if found is None:
        row = OriginRow(digest=origin.digest, **origin._asdict())
        session.add(row)
        session.commit()
        found = row.id
    return found


def _insert(session: Session, origin_id: int, folder: str, images: Sequence[NewImage]) -> None:
    """All rows of a batch, or none."""
    batch = BatchRow(folder=folder)
    session.add(batch)
    session.flush()
    rows = [
        {
            "origin_id": origin_id,
            "batch_id": batch.id,
            "seed": image.seed,
            "number": image.number,
            "content_hash": content_hash(image.pixels),
            "has_mask": image.pixels.mask is not None,
            **image.scores._asdict(),
        }
        for image in images
    ]
    session.execute(insert(ImageRow), rows)
    session.commit()


def _leave_out_known(
    session: Session, origin_id: int, images: Sequence[NewImage]
) -> list[NewImage]:
    numbers = [image.number for image in images]
    found = session.execute(
        select(ImageRow.seed, ImageRow.number).where(
            ImageRow.origin_id == origin_id,
            ImageRow.seed.in_({image.seed for image in images}),
            ImageRow.number.between(min(numbers), max(numbers)),
        )
    )
    known = {tuple(row) for row in found}
    return [image for image in images if (image.seed, image.number) not in known]

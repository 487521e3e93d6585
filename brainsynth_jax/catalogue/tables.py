"""The tables of a catalogue.

A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# What made an image: a DCGAN; a CycleGAN, from a mask to a slice; a CycleGAN, from a slice to a
# mask. Of the last only the mask is synthetic: the slice is a patient's, its verdict "suspicious".
MODELS = ("dcgan", "cyclegan-ba", "cyclegan-ab")
REVIEWS = ("good", "artefact", "implausible")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_known")


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Of all tables."""


class OriginRow(Base):
    """What images were made by, and of what: enough to make them again.

    Attributes:
        digest: of all below, so that one origin has one row; hexadecimal SHA-256.
        model: one of `MODELS`.
        run: the run's folder, as it was given.
        step: of the checkpoint.
        checkpoint_hash: of the weights, hexadecimal SHA-256.
        code_version: of this package.
        options: how it was drawn, and of the run that was drawn from.
        data_fingerprint: of the slices that it was trained on.
        subjects: hashes of the names of those that it was trained on, so that who knows a name can
            ask whether it is there.
        spacing_mm: between slices, rows and columns; None where unknown.
    """

    __tablename__ = "origins"
    __table_args__ = (_one_of("model", MODELS),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    model: Mapped[str]
    run: Mapped[str]
    step: Mapped[int]
    checkpoint_hash: Mapped[str]
    code_version: Mapped[str]
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    data_fingerprint: Mapped[str]
    subjects: Mapped[list[str]] = mapped_column(JSON)
    spacing_mm: Mapped[list[float | None]] = mapped_column(JSON)


class BatchRow(Base):
    """Images whose files lie in one folder, and came into the catalogue together.

    Attributes:
        folder: its name, in the catalogue's folder.
        made_at: when.
    """

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(unique=True)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)


class ImageRow(Base):
    """One synthetic image.

    Attributes:
        seed: of the draw.
        number: of the image among those of its seed.
        content_hash: of its pixels and its mask's, hexadecimal SHA-256 (`image_files`).
        has_mask: whether a mask lies beside it.
        realism: the realism score (Kynkaanniemi et al., 2019, equation 5); at 1 or more it lies
            among the real ones, 1e6 at most. None where it was not measured, as all below.
        copy_distance: to the training slice whose pixels are nearest, root mean square of [-1, 1]
            (`evaluation.neighbours.nearest_distances`).
        copy_verdict: one of `evaluation.copies.VERDICTS`.
        tumor_pixels: how many of its mask's are tumour.
        tumor_row, tumor_column: their centre, 0 to 1 from the top and from the left; None without.
    """

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("origin_id", "seed", "number"),
        Index("images_by_batch", "batch_id"),
        Index("images_by_realism", "realism"),
        Index("images_by_verdict", "copy_verdict"),
        Index("images_by_tumor", "tumor_pixels"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    origin_id: Mapped[int] = mapped_column(ForeignKey("origins.id"))
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    seed: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int]
    content_hash: Mapped[str]
    has_mask: Mapped[bool]
    realism: Mapped[float | None]
    copy_distance: Mapped[float | None]
    copy_verdict: Mapped[str | None]
    tumor_pixels: Mapped[int | None]
    tumor_row: Mapped[float | None]
    tumor_column: Mapped[float | None]

    origin: Mapped[OriginRow] = relationship(lazy="joined", innerjoin=True)
    batch: Mapped[BatchRow] = relationship(lazy="joined", innerjoin=True)
    reviews: Mapped[list["ReviewRow"]] = relationship(order_by="ReviewRow.id", lazy="selectin")


class ReviewRow(Base):
    """What somebody thought of an image; none is ever changed or removed.

    Attributes:
        reviewer: a name or initials.
        verdict: one of `REVIEWS`.
        note: in words.
        made_at: when.
    """

    __tablename__ = "reviews"
    __table_args__ = (_one_of("verdict", REVIEWS), Index("reviews_by_image", "image_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    reviewer: Mapped[str]
    verdict: Mapped[str]
    note: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)

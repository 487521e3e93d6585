"""Images, what made them, and what was thought of them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "origins",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("checkpoint_hash", sa.String, nullable=False),
        sa.Column("code_version", sa.String, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("data_fingerprint", sa.String, nullable=False),
        sa.Column("subjects", sa.JSON, nullable=False),
        sa.Column("spacing_mm", sa.JSON, nullable=False),
        sa.CheckConstraint(
            "model IN ('dcgan', 'cyclegan-ba', 'cyclegan-ab')", name="model_is_known"
        ),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("folder", sa.String, nullable=False, unique=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("origin_id", sa.Integer, sa.ForeignKey("origins.id"), nullable=False),
        sa.Column("batch_id", sa.Integer, sa.ForeignKey("batches.id"), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.String, nullable=False),
        sa.Column("has_mask", sa.Boolean, nullable=False),
        sa.Column("realism", sa.Double),
        sa.Column("copy_distance", sa.Double),
        sa.Column("copy_verdict", sa.String),
        sa.Column("tumor_pixels", sa.Integer),
        sa.Column("tumor_row", sa.Double),
        sa.Column("tumor_column", sa.Double),
        sa.UniqueConstraint("origin_id", "seed", "number"),
    )
    op.create_index("images_by_batch", "images", ["batch_id"])
    op.create_index("images_by_realism", "images", ["realism"])
    op.create_index("images_by_verdict", "images", ["copy_verdict"])
    op.create_index("images_by_tumor", "images", ["tumor_pixels"])
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("image_id", sa.Integer, sa.ForeignKey("images.id"), nullable=False),
        sa.Column("reviewer", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "verdict IN ('good', 'artefact', 'implausible')", name="verdict_is_known"
        ),
    )
    op.create_index("reviews_by_image", "reviews", ["image_id"])

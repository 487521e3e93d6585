"""What Alembic runs: the migrations, on the connection that `database.py` gives it."""

from alembic import context

from brainsynth_jax.catalogue.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot change a table in place
)
with context.begin_transaction():
    context.run_migrations()

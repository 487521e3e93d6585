"""A catalogue's database: reached by its URL, and brought to this version's tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from brainsynth_jax.errors import UserError

_MIGRATIONS = Path(__file__).with_name("migrations")
_SECONDS_FOR_OTHERS = 60
_SQLITE = "sqlite"

# What libpq takes in a URL's query and nobody else may see.
_SECRETS = ("password", "passfile", "sslpassword", "sslkey")


def connect(url: str) -> Engine:
    """Reaches the database; a file of SQLite is made where it is missing, and its folder.

    Args:
        url: of SQLAlchemy, such as "sqlite:///runs/catalogue.sqlite", or a path to SQLite's file.

    Raises:
        UserError: the URL is none, or what it names cannot be reached.
    """
    url = url if "://" in url else f"{_SQLITE}:///{Path(url).expanduser()}"
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == _SQLITE and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
        if parsed.get_backend_name() == _SQLITE:
            event.listen(engine, "connect", _prepare_sqlite)
        with engine.connect():
            return engine
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(
            f"--database={url} is no database's URL ({error}). Give a path for a file of SQLite, "
            "or such as postgresql+psycopg://USER:PASSWORD@HOST/NAME."
        ) from None
    except ImportError as error:
        raise UserError(
            f"--database={hide_password(url)} needs {error.name}: pip install {error.name}"
        ) from None
    except (DBAPIError, OSError) as error:
        raise unreachable(url, error) from None


def is_sqlite(url: str) -> bool:
    """Whether it names a file of SQLite, by its path or as a URL."""
    return "://" not in url or url.startswith(f"{_SQLITE}:")


def upgrade(engine: Engine) -> None:
    """Brings the tables to this version; new ones are made.

    Raises:
        UserError: they are of a newer version, or cannot be changed.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with engine.begin() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
            if found is not None and found not in known:
                raise UserError(
                    f"--database={hide_password(engine.url)} was made by a newer version of "
                    f"brainsynth_jax (its tables are version {found}, known are up to "
                    f"{max(known)}). Use that version, or another database."
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise unreachable(engine.url, error) from None


@contextmanager
def told_plainly(engine: Engine) -> Iterator[None]:
    """While entered, what the database refuses becomes a UserError."""
    try:
        yield
    except IntegrityError:  # an answer to what was asked, not a refusal
        raise
    except DBAPIError as error:
        raise unreachable(engine.url, error) from None


def unreachable(url: object, error: Exception) -> UserError:
    """The error that says what a database answered."""
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return UserError(
        f"--database={hide_password(url)} cannot be used ({reason}). See that it is there, and "
        "that you may write to it."
    )


def hide_password(url: object) -> str:
    """A database as --database takes it, and as it may be shown: a password is not in it."""
    parsed = make_url(url)
    if parsed.get_backend_name() == _SQLITE:
        return parsed.database or str(url)
    query = {name: value for name, value in parsed.query.items() if name not in _SECRETS}
    return parsed.set(query=query).render_as_string(hide_password=True)


def _prepare_sqlite(connection, _) -> None:
    """Readers do not wait for a writer, and writers for each other, for a minute at most."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {1000 * _SECONDS_FOR_OTHERS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()

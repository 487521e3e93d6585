"""Databases to keep a catalogue in: SQLite, and PostgreSQL where it is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa


def find_server():
    """The folder of PostgreSQL's programs; None where it is not installed."""
    found = [Path(path).parent for path in (shutil.which("initdb"),) if path]
    return next(iter(found + sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)


def find_user():
    """Who may start it: anybody but root, who has Debian's own user for it."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid()).pw_name
    names = [entry.pw_name for entry in pwd.getpwall()]
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a server of its own, reached through a socket, without a database's name."""
    programs = find_server()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    pytest.importorskip("psycopg")
    user = find_user()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # short: a socket's path is limited
    shutil.chown(folder, user)

    def call(program, *arguments):
        subprocess.run(
            [programs / program, "-D", folder / "data", *arguments],
            user=user if not os.geteuid() else None,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    call("initdb", "--auth=trust", "--username=tests", "--no-sync")
    options = f"-c listen_addresses= -c fsync=off -k {folder}"
    call("pg_ctl", "start", "--wait", "-o", options, "-l", folder / "log")
    yield f"postgresql+psycopg://tests@/{{name}}?host={folder}"
    call("pg_ctl", "stop", "--mode=immediate")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Of a new, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalogue.sqlite"
    server = request.getfixturevalue("postgresql")
    engine = sa.create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    name = f"test_{os.urandom(6).hex()}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name=name)

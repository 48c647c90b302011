"""The database schema at the start of a node: made when it is missing, brought up to date when it is older.

One set of migrations runs on SQLite and PostgreSQL, each in one transaction; several processes that start at the same
moment take turns.
"""

from importlib import import_module

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData

from registry.errors import UnavailableError
from registry.storage import engine

__all__ = ["metadata", "revisions", "upgrade"]

#: Every module that hangs tables on the metadata.
_TABLES = (
    "registry.storage.tables",
    "registry.storage.prefix_rows",
    "federation.log.storage.tables",
    "federation.exchange.storage.tables",
    "federation.exchange.storage.sending_tables",
    "federation.content.storage.tables",
    "federation.queries.storage",
    "federation.escrow.storage",
    "node.accounts.storage",
    "node.flow.books.storage",
    "node.flow.capture.storage.tables",
    "node.flow.ledger.storage.tables",
    "node.flow.genealogy.storage.tables",
)
#: Any number that nothing else in the database uses: the lock under which PostgreSQL migrates.
_LOCK = 8_801_070


def metadata() -> MetaData:
    """Return the metadata with the tables of every room on it."""
    for module in _TABLES:
        import_module(module)
    return engine.metadata


def upgrade(database: engine.Database) -> None:
    """Bring the schema of `database` to what this release needs.

    Raises:
        UnavailableError: the database cannot be reached or changed, or belongs to a newer release.
    """
    current, newest = revisions(database)
    if current == newest:
        return
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise UnavailableError("registry.storage.newer", revision=current, known=newest)
    with database.write() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revisions(database: engine.Database) -> tuple[str | None, str | None]:
    """Return the revision the database is at, and the newest one this release knows."""
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "node:migrations")
    return config

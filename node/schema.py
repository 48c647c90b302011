"""The database schema at the start of a node: made when it is missing, brought up to date when it is older."""

from importlib import import_module

from sqlalchemy import MetaData

from registry.storage import engine
from registry.storage.tables import create_partitions

__all__ = ["metadata", "upgrade"]

#: Every module that hangs tables on the metadata.
_TABLES = ("registry.storage.tables", "registry.storage.prefix_rows", "node.accounts.storage")


def metadata() -> MetaData:
    """Return the metadata with the tables of every room on it."""
    for module in _TABLES:
        import_module(module)
    return engine.metadata


def upgrade(database: engine.Database) -> None:
    """Bring the schema of `database` to what this release needs.

    Raises:
        UnavailableError: the database cannot be reached or changed.
    """
    wanted = metadata()
    with database.write() as connection:
        wanted.create_all(connection)
        create_partitions(connection)

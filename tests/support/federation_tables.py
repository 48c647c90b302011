"""The tables of the exchange in a database of a test, where the test did not bring the schema up to date itself."""

from importlib import import_module
from importlib.util import find_spec

from registry.storage.engine import metadata

MODULES = (
    "federation.log.storage",
    "federation.exchange.storage.tables",
    "federation.exchange.storage.sending",
    "federation.exchange.storage.received",
    "federation.content.storage",
    "federation.escrow.storage",
    "federation.queries.storage",
)


def create(database):
    """Make every table that is still missing."""
    for name in MODULES:
        try:
            if find_spec(name) is not None:
                import_module(name)
        except ModuleNotFoundError:
            continue
    metadata.create_all(database.engine, checkfirst=True)
    return database

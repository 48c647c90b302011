"""A node that can be restored from an old picture of its database, and the superior it sends to."""

import pytest

from registry.storage.engine import Database
from tests.support.exchange_healing import a_works
from tests.support.exchange_nodes import a_desk


@pytest.fixture
def works(database, tmp_path):
    made = a_works(database, tmp_path / "works")
    yield made
    made.executor.shutdown()


@pytest.fixture
def park(tmp_path):
    """The park has a database of its own, always SQLite: which kind it is makes no difference to the works."""
    made = Database(f"sqlite:///{tmp_path / 'park.sqlite3'}")
    yield a_desk(made)
    made.close()

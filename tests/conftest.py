from hypothesis import settings

from tests.support.databases import database, postgres_server, sqlite_database
from tests.support.demo import demo

__all__ = ["database", "demo", "postgres_server", "sqlite_database"]

# a busy machine is slow, not wrong: examples have no deadline
settings.register_profile("hazlink", deadline=None)
settings.load_profile("hazlink")

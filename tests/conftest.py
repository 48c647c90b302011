from tests.support.databases import database, postgres_server, sqlite_database
from tests.support.demo import demo

__all__ = ["database", "demo", "postgres_server", "sqlite_database"]

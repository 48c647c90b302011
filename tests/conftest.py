from tests.support.databases import database, postgres_server, sqlite_database

__all__ = ["database", "postgres_server", "sqlite_database"]

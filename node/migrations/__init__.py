"""One set of migrations for SQLite and PostgreSQL, run in order by `node.schema`."""

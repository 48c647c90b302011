import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from node.schema import metadata, revisions, upgrade
from registry.errors import UnavailableError
from registry.storage.engine import Database


def test_the_migrations_make_exactly_the_tables_of_the_code(database):
    with database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                # partitions are made by the migration, not by the metadata
                "include_name": lambda name, kind, _: kind != "table" or "_p" not in (name or "")[-3:],
            },
        )
        assert compare_metadata(context, metadata()) == []


def test_upgrading_again_changes_nothing(database):
    current, newest = revisions(database)
    assert current == newest
    upgrade(database)
    assert revisions(database) == (current, newest)


def test_large_tables_are_partitioned_on_postgresql(database):
    if database.is_sqlite:
        assert "record" in inspect(database.engine).get_table_names()
        return
    with database.read() as connection:
        parts = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_inherits JOIN pg_class p ON p.oid = inhparent"
            " WHERE p.relname IN ('record', 'search')"
        ).scalar_one()
    assert parts == 16


def test_processes_that_start_together_take_turns(tmp_path):
    url = f"sqlite:///{tmp_path / 'node.sqlite3'}"
    errors = []

    def start():
        database = Database(url)
        try:
            upgrade(database)
        except Exception as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_database_of_a_newer_release_is_refused(sqlite_database):
    with sqlite_database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnavailableError) as caught:
        upgrade(sqlite_database)
    assert "9999" in str(caught.value)

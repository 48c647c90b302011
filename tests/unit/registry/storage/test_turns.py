"""One writer at a time on SQLite: who is in a hurry comes first, the others as they came."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.storage.engine import Database
from tests.support.processes import until


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path / 'turns.sqlite3'}")
    yield made
    made.close()


def waiting(database):
    return sum(len(queue) for queue in database._writer._waiting.values())


def test_those_in_a_hurry_write_first_and_the_others_in_the_order_in_which_they_came(database):
    order = []

    def write(name):
        with database.write():
            order.append(name)

    with (
        ThreadPoolExecutor(3) as pool,
        ThreadPoolExecutor(2, initializer=database.hurry) as urgent,
        database.write(),
    ):
        for number, (where, name) in enumerate(
            [(pool, "a"), (pool, "b"), (urgent, "alarm 1"), (pool, "c"), (urgent, "alarm 2")], 1
        ):
            where.submit(write, name)
            until(lambda number=number: waiting(database) == number, f"{name} waits")
        assert order == []
    assert order == ["alarm 1", "alarm 2", "a", "b", "c"]


def test_a_transaction_that_fails_lets_the_next_one_write(database):
    with pytest.raises(ZeroDivisionError), database.write():
        raise ZeroDivisionError
    with database.write() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_never_two_write_at_once(database):
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE count (n INTEGER)")
        connection.exec_driver_sql("INSERT INTO count VALUES (0)")
    inside, most = [], []
    lock = threading.Lock()

    def add(_number):
        with database.write() as connection:
            with lock:
                inside.append(1)
                most.append(len(inside))
            found = connection.exec_driver_sql("SELECT n FROM count").scalar()
            connection.exec_driver_sql(f"UPDATE count SET n = {found + 1}")
            with lock:
                inside.pop()

    with ThreadPoolExecutor(8) as pool, ThreadPoolExecutor(2, initializer=database.hurry) as urgent:
        for number in range(200):
            (urgent if number % 5 == 0 else pool).submit(add, number)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT n FROM count").scalar() == 200
    assert max(most) == 1


@pytest.mark.postgres
def test_a_database_of_another_kind_leaves_turns_to_its_server(postgres_server):
    database = Database(postgres_server)
    database.hurry()
    with database.write() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()

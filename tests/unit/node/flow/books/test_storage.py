import threading

from node.flow.books.storage import Names, chunks, lock_book, open_book, save_book
from tests.support.flow import OWNER, lot, made
from tests.support.flow_books import FlowBook


def test_a_book_is_made_when_it_is_first_written_to_and_keeps_its_numbers(database):
    with database.read() as connection:
        assert open_book(connection, OWNER) is None
    with database.write() as connection:
        first, second = lock_book(connection, OWNER), lock_book(connection, "88.2")
        assert (first.number, second.number) == (1, 2)
        first.next_event = 9
        save_book(connection, first)
    with database.write() as connection:
        assert lock_book(connection, OWNER) == first
    with database.read() as connection:
        assert open_book(connection, "88.2") == 2


def test_a_name_has_one_number_and_a_run_of_that_name_another(database):
    with database.write() as connection:
        book = lock_book(connection, OWNER)
        names = Names(connection, book.number)
        given = dict(names.give(book, ["a", "b", ""]))
        assert (given[""], len(set(given.values()))) == (0, 3)
        run = names.give(book, ["a"], run=True)["a"]
        assert run not in given.values()
        save_book(connection, book)
    with database.write() as connection:
        book = lock_book(connection, OWNER)
        again = Names(connection, book.number)
        assert again.give(book, ["b", "a"]) == {"a": given["a"], "b": given["b"]}
        assert again.known(["a", "nobody"]) == {"a": given["a"]}
        assert again.spelled([given["a"], run, 0]) == {given["a"]: "a", run: "a", 0: ""}


def test_case_and_script_make_different_names(database):
    with database.write() as connection:
        book = lock_book(connection, OWNER)
        given = Names(connection, book.number).give(book, ["a", "A", "甲", "a "])
        assert len(set(given.values())) == 4


def test_more_names_than_one_question_takes_are_found(database):
    wanted = [f"n{number}" for number in range(1_201)]
    with database.write() as connection:
        book = lock_book(connection, OWNER)
        given = dict(Names(connection, book.number).give(book, wanted))
        assert Names(connection, book.number).known(wanted) == given
        assert len(Names(connection, book.number).spelled(given.values())) == len(wanted) + 1
    assert [len(part) for part in chunks(range(5), 2)] == [2, 2, 1]


def test_those_who_write_to_one_book_at_the_same_time_take_turns(database):
    book = FlowBook(database)
    wrong = []

    def write(number):
        try:
            for n in range(5):
                book.take(made("A", 1, hours=n, lot=f"urn:n:{number}:{n}"))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    ((key, quantity),) = book.balances().items()
    assert (key[4], quantity) == (lot("A"), 20)

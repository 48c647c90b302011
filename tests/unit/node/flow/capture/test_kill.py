"""A process that is killed while it captures leaves whole documents, and a ledger that equals a rebuilt one."""

import subprocess
import sys

import pytest

from registry.storage.engine import Database
from tests.support.flow_books import FlowBook
from tests.support.processes import ROOT

_CAPTURING = """
import itertools, sys
from registry.storage.engine import Database
from tests.support.flow import counted, declared, gone, made, moved, ran
from tests.support.flow_books import FlowBook

book = FlowBook(Database(sys.argv[1]))
for n in itertools.count(int(sys.argv[2])):
    sent = moved("shipping", "A", 2, bill=f"W{n}", hours=n)
    events = [made("A", 10, hours=n), sent, ran({"A": 3}, {f"B{n}": 3}, run=f"urn:r:{n}", hours=n)]
    book.take(*events, moved("departing", "A", 2, bill=f"W{n}", hours=n), counted("A", n, hours=n + 1))
    book.take(declared(sent), gone("A", 1, hours=n))
    print(n, flush=True)
"""


@pytest.mark.slow
def test_what_was_captured_before_a_kill_is_whole(sqlite_database):
    url = str(sqlite_database.url)
    sqlite_database.close()
    first = 0
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _CAPTURING, url, str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            told = [int(process.stdout.readline()) for _ in range(4 + 3 * kill)]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        book = FlowBook(Database(url))
        live = book.everything()
        made = {one.batch.rpartition("/")[2] for one in live["balances"]}
        assert {f"B{n}" for n in told} <= made, "what was acknowledged is there"
        read = book.rebuild()
        assert read >= 7 * len(told)
        assert book.everything() == live
        book.database.close()
        first = told[-1] + 100

"""A copied data folder, started beside the original: at most one of the two is heard, and no number means two things."""

import shutil
import subprocess
import sys
import time

import pytest
from sqlalchemy import select

from federation.exchange.storage.sending_tables import exchange_out
from federation.exchange.storage.tables import exchange_conflict, exchange_in
from federation.marks.file import MarkFile
from node.cli.base import at_node
from registry.storage.engine import Database
from tests.support.exchange_books import BELOW, database_url, opened, progress
from tests.support.exchange_processes import QUICK, an_entry, queue, two_nodes
from tests.support.ports import free_ports
from tests.support.processes import PATIENCE, ROOT, Served, environment, until

pytestmark = pytest.mark.slow

SHARED, OWN = 40, 30


def test_fault_16_of_two_copies_of_a_data_folder_one_is_heard_and_no_number_is_taken_twice(tmp_path):
    with two_nodes(tmp_path, seed=16) as nodes:
        asks(nodes.below, 0, SHARED)
        until(lambda: nodes.left() == 0, "the original has sent")
        assert nodes.below.stop() == 0
        common = sent(nodes.below)
        copy = the_copy(nodes.below, tmp_path / "copy")
        # what differs between them waits in each before either starts: both will want the very same numbers
        asks(nodes.below, 1_000, OWN)
        asks(copy, 2_000, OWN)
        nodes.below.start()
        with copy:
            twins = (nodes.below, copy)
            until(lambda: any(left(one) == 0 for one in twins), "one of them gets through")
            before = [fence(one) for one in twins]
            # time enough for the other: sessions, heads and polls are each tried several times
            time.sleep(5)
            assert [fence(one) for one in twins] == before, "a refused copy stood for office again by itself"
            (heard,) = [one for one in twins if left(one) == 0]
            (refused,) = [one for one in twins if one is not heard]
            assert receipts(refused) == {key: common[key] for key in receipts(refused)}
            assert left(refused) >= 1
            took = taken(nodes.above)
            assert took.items() <= sent(heard).items()

            # whoever was refused starts again, with a higher number of its own: it must not undo what was taken
            refused.kill()
            refused.start()
            time.sleep(8)
            after = taken(nodes.above)
            assert {key: after[key] for key in took} == took
            spoke = {key: env for key, env in after.items() if key not in took}
            assert all(
                sent(refused).get(key) == env or sent(heard).get(key) == env for key, env in spoke.items()
            )
            told = conflicts(nodes.above)
            print(
                f"{len(took)} taken from the one, {len(spoke)} after that, {told} conflicts kept as evidence"
            )
            print(progress(refused.data), progress(heard.data))
            for served in (nodes.below, copy, nodes.above):
                assert served.stop() == 0
        for data in (nodes.above.data, nodes.below.data, copy.data):
            with at_node(data) as node:
                assert node.check_log().is_sound


def test_fault_16_of_two_processes_on_one_folder_the_second_is_refused_until_the_first_is_gone(tmp_path):
    with two_nodes(tmp_path, seed=16) as nodes:
        assert subprocess.run(
            [sys.executable, "-m", "node", "serve", "--data", str(nodes.below.data)],
            cwd=ROOT,
            env=environment(**QUICK),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        ).returncode
        asks(nodes.below, 0, OWN)
        nodes.below.kill()
        asks(nodes.below, OWN, OWN)
        nodes.below.start()
        until(lambda: nodes.left() == 0, "the next process goes on where the first was killed")
        assert taken(nodes.above) == sent(nodes.below)


def the_copy(original, data):
    """Copy a data folder as somebody would who moves a machine and forgets to switch off the old one."""
    shutil.copytree(original.data, data)
    base = free_ports(0, 1)
    return Served(data, "--http-port", str(base), "--grpc-port", str(base + 1), **QUICK)


def asks(served, first, number):
    database = Database(database_url(served.data))
    queue(database, [an_entry(first + place) for place in range(number)])
    database.close()


def fence(served):
    """The number under which a copy holds its office."""
    return MarkFile(served.data / "marks" / "exchange.json").content().fence


def left(served):
    return progress(served.data).left


def sent(served):
    """(stream, epoch, seq) → hash of the envelope."""
    out = exchange_out.c
    with opened(served.data) as connection:
        rows = connection.execute(select(out.stream, out.epoch, out.seq, out.env)).all()
    return {(row.stream, row.epoch, row.seq): bytes(row.env) for row in rows}


def receipts(served):
    """The same, of envelopes with a receipt."""
    out = exchange_out.c
    asked = select(out.stream, out.epoch, out.seq, out.env).where(out.receipt.is_not(None))
    with opened(served.data) as connection:
        rows = connection.execute(asked).all()
    return {(row.stream, row.epoch, row.seq): bytes(row.env) for row in rows}


def taken(served):
    come = exchange_in.c
    asked = select(come.stream, come.epoch, come.seq, come.env).where(come.iss == BELOW.key)
    with opened(served.data) as connection:
        rows = connection.execute(asked).all()
    return {(row.stream, row.epoch, row.seq): bytes(row.env) for row in rows}


def conflicts(served):
    with opened(served.data) as connection:
        return len(connection.execute(select(exchange_conflict.c.env)).all())

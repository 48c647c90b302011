"""Nodes that can be restored from an old picture of their database, for the tests of healing.

works = a_works(database, folder)              # sends 88.107.1001 -> 88.107, with a log and a mark file of its own
works.write(1); works.seal(); works.deliver(park)
picture = works.picture(); …; works.restore(picture); works.elected()
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select

from federation.exchange.envelope import Draft
from federation.exchange.healing import Healer
from federation.exchange.healing_log import LogHealing
from federation.exchange.healing_peers import HomeKeys
from federation.exchange.outbox import Outbox
from federation.exchange.recovery import Recovery
from federation.exchange.returning import Returned
from federation.exchange.sealing import Sealer, fenced
from federation.exchange.settling import Settlement
from federation.exchange.storage.healing import HealingUnit
from federation.exchange.storage.sending import LaneName, SendingUnit
from federation.exchange.storage.sending_proofs import ProofUnit
from federation.log.linking import link_leaf
from federation.log.storage import LogUnit
from federation.log.writer import LogWriter, open_log
from federation.marks.content import CheckpointMark
from federation.marks.file import FILE_NAME, MarkFile
from node.election.storage import fence, raise_fence
from node.schema import upgrade
from registry.errors import UnavailableError
from registry.storage.engine import metadata
from registry.trust.algorithms import admit
from tests.support.exchange_nodes import FakeHomes
from tests.support.exchange_wire import PARK, TREE, WORKS
from tests.support.prefixes import MovedClock
from tests.support.trust import ALGS, a_signer

__all__ = [
    "LANE",
    "FakeMirror",
    "FakeReceivers",
    "SignerKeys",
    "Works",
    "a_works",
    "restored",
    "whole_picture",
]

LANE = LaneName(WORKS, PARK, "register")


def whole_picture(database):
    """Every row of every table."""
    with database.read() as connection:
        return {
            table: [row._asdict() for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


def restored(database, picture):
    """Put an old picture back: what a restore from a backup does."""
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
        for table, rows in picture.items():
            if rows:
                connection.execute(insert(table), rows)


class SignerKeys:
    """Everybody's keys are those of `tests.support.trust`; implements `ReceiverKeys`."""

    def key(self, iss, aud, kid, at):
        return admit(a_signer(aud.key).jwk, ALGS)


@dataclass
class FakeMirror:
    """A witness in memory; implements `Mirror`."""

    leaves: list = field(default_factory=list)
    mark: CheckpointMark | None = None
    silent: bool = False

    def follow(self, database):
        """Take over the newest checkpoint and the leaves under it."""
        with database.read() as connection:
            unit = LogUnit(connection)
            newest = unit.newest()
            self.mark = CheckpointMark(newest.size, newest.root)
            self.leaves = unit.leaves(0, newest.size)

    async def checkpoint(self):
        self._answer()
        return self.mark

    async def entries(self, first):
        self._answer()
        return self.leaves[first : first + 3]

    def _answer(self):
        if self.silent:
            raise UnavailableError("federation.exchange_healing.witness", reason="silent")


@dataclass
class FakeReceivers:
    """The park as the works reach it; implements `Receivers`."""

    desk: object
    silent: bool = False
    unreachable: set = field(default_factory=set)
    altered: object = None

    def reaches(self, lane):
        return lane.aud == PARK and lane not in self.unreachable

    def superiors(self):
        return [(WORKS, PARK)]

    async def sent(self, lane, epoch, after):
        self._answer()
        with self.desk.database.read() as connection:
            rows = ProofUnit(connection).sent_by(
                lane.iss, lane.aud, lane.stream, epoch=epoch, after=after, limit=3
            )
        found = [Returned(token, receipt.decode()) for token, receipt in rows]
        return self.altered(found) if self.altered else found

    async def countersign(self, iss, statement):
        self._answer()
        return self.desk.inbound.countersign(iss, statement)

    def _answer(self):
        if self.silent:
            raise UnavailableError("federation.exchange_healing.witness", reason="silent")


class Works:
    """A sending node with everything outside its database that survives a restore."""

    #: Returns the signed list of all keys of a prefix.
    history = None

    def __init__(self, database, folder):
        upgrade(database)
        self.database, self.clock = database, MovedClock()
        self.homes = FakeHomes(frozenset({WORKS.key}), TREE)
        self.marks = MarkFile(folder / FILE_NAME)
        self.executor = ThreadPoolExecutor(2)
        self.origins = ["88.107.1001/log1"]
        self.mirror = FakeMirror()
        #: Makes sure of the keys; None: nobody is asked.
        self.confirm = None
        self.elected()
        self.recovery().finish(self.fence)

    def elected(self):
        """Begin a term of office, as each start does."""
        if not self.marks.exists():
            self.marks.create(bytes(16))
        self.fence = self.marks.take(os.urandom(16), fence(self.database))
        raise_fence(self.database, self.fence)

    @property
    def may_sign(self):
        return fenced(self.marks.fence)

    def picture(self):
        return whole_picture(self.database)

    def restore(self, picture, *, told=True):
        """Come back as of a picture; with `told` false nobody says so to the database: its file was just copied."""
        restored(self.database, picture)
        if told:
            with self.database.write() as connection:
                HealingUnit(connection).forget()
        self.elected()

    # sending

    def write(self, number, stream="register"):
        draft = Draft(WORKS, PARK, stream, "note", "note/1", {"n": number})
        with self.database.write() as connection:
            Outbox(clock=self.clock).append(connection, draft)

    def seal(self, stream="register"):
        return Sealer(
            database=self.database,
            speakers=self.homes,
            marks=self.marks,
            may_sign=self.may_sign,
            clock=self.clock,
            entropy=os.urandom,
        ).seal(stream, 100)

    @property
    def settlement(self):
        return Settlement(database=self.database, keys=SignerKeys(), may_sign=self.may_sign, clock=self.clock)

    def unanswered(self, stream="register"):
        lane = LANE._replace(stream=stream)
        with self.database.read() as connection:
            unit = SendingUnit(connection)
            state = unit.lane(lane)
            return unit.batch(lane, (state.epoch, state.acked_seq), limit=100, max_bytes=1 << 22)

    def deliver(self, desk, *, keep_answer=False):
        """Send what has no receipt; return the lines that came back."""
        rows = self.unanswered()
        lines = desk.receiver.receive(WORKS, "register", [row.token for row in rows])
        if not keep_answer:
            self.settlement.take(PARK, [line.receipt for line in lines if line.receipt])
        return lines

    def send(self, desk, *numbers):
        for number in numbers:
            self.write(number)
        self.seal()
        return self.deliver(desk)

    def announce(self, desk):
        """Show the park the epoch the lane is in."""
        state = self.state()
        desk.inbound.announce(WORKS, *self.settlement.announcement(LANE, state.epoch))

    def state(self, stream="register"):
        with self.database.read() as connection:
            return SendingUnit(connection).lane(LANE._replace(stream=stream))

    def everything(self):
        """Every envelope signed here, as (epoch, seq) and hash."""
        with self.database.read() as connection:
            rows = SendingUnit(connection).batch(LANE, (0, 0), limit=1_000, max_bytes=1 << 24)
        return {(row.epoch, row.seq): row.env for row in rows}

    # the log

    def writer(self):
        return LogWriter(
            self.database,
            a_signer(self.origins[-1]),
            self.origins[-1],
            self.marks,
            self.clock,
            fence=self.marks.fence,
        )

    def publish(self, *, witnessed=True):
        made = self.writer().publish()
        if witnessed:
            self.mirror.follow(self.database)
        return made

    def leaves(self):
        with self.database.read() as connection:
            unit = LogUnit(connection)
            return unit.leaves(0, unit.size())

    def renew_log(self, last):
        old, new = self.origins[-1], f"88.107.1001/log{len(self.origins) + 1}"
        self.origins.append(new)
        link = link_leaf(old, last.size, last.root, new, int(self.clock.now()))
        open_log(self.database, origin=new, signer=a_signer(new), clock=self.clock, first=[link])

    # healing

    def recovery(self):
        return Recovery(
            database=self.database,
            own_keys=HomeKeys(self.homes, self.history),
            receiver_keys=SignerKeys(),
            may_sign=self.may_sign,
            clock=self.clock,
        )

    def healer(self, receivers):
        return Healer(
            recovery=self.recovery(),
            marks=self.marks,
            log=LogHealing(
                database=self.database,
                origin=lambda: self.origins[-1],
                mirrors=lambda: [self.mirror],
                executor=self.executor,
            ),
            receivers=receivers,
            speakers=self.homes,
            renew_log=self.renew_log,
            clock=self.clock,
            executor=self.executor,
            confirm=self.confirm,
        )


def a_works(database, folder):
    """The works, elected."""
    return Works(database, folder)

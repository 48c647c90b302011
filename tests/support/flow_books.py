"""A book to write into, everything that stands in it, and what should stand in it."""

from bisect import bisect_right
from collections import defaultdict
from decimal import Decimal

from sqlalchemy import select

from node.flow.books.storage import Names, open_book
from node.flow.capture.service import CaptureService
from node.flow.genealogy.storage.tables import flow_custody, flow_edge, flow_mark
from node.flow.ledger.derive import derive, microseconds
from node.flow.ledger.lines import Account
from node.flow.ledger.measures import amount_of
from node.flow.ledger.storage.reading import LedgerReader
from node.flow.ledger.storage.rows import BALANCED
from node.flow.ledger.storage.tables import flow_line
from registry.identifier import Prefix
from tests.support.flow import OWNER, at


class StillClock:
    """A clock that says what it is told."""

    def __init__(self, hours=1_000):
        self.hours = hours

    def now(self):
        return at(self.hours).timestamp()


class FlowBook:
    """The book of one prefix in a database."""

    def __init__(self, database, owner=OWNER):
        self.database = database
        self.owner = Prefix.parse(owner)
        self.clock = StillClock()
        self.service = CaptureService(database=database, clock=self.clock)

    def take(self, *events, **how):
        return self.service.capture(self.owner, events, who="gate@88", **how)

    def rebuild(self):
        return self.service.rebuild(self.owner)

    def reading(self, read):
        """What `read` finds with a reader of the ledger."""
        with self.database.read() as connection:
            return read(LedgerReader(connection, open_book(connection, self.owner.key)))

    def balances(self):
        """{(account, holder, location, document, batch, unit): quantity} of what is kept in balance."""
        return {
            (one.account, one.holder, one.location, one.document, one.batch, one.uom): one.qty
            for one in self.reading(lambda ledger: ledger.balances())
        }

    def findings(self):
        return sorted(one.name for one in self.reading(lambda ledger: ledger.findings(self.owner.key)))

    def notes(self):
        return [(one.event, one.name) for one in self.reading(lambda ledger: ledger.notes())]

    def everything(self):
        """All that is derived, by name; lines as what they come to for each event they are about."""
        with self.database.read() as connection:
            book = open_book(connection, self.owner.key)
            if book is None:
                return {}
            ledger = LedgerReader(connection, book)
            tables = {
                table.name: connection.execute(select(table).where(table.c.book == book)).mappings().all()
                for table in (flow_line, flow_edge, flow_mark, flow_custody)
            }
            numbers = {
                row[column]
                for rows in tables.values()
                for row in rows
                for column in ("holder", "location", "document", "batch", "dst", "src", "child", "parent", "lot", "partner")
                if column in row
            }  # fmt: skip
            names = Names(connection, book).spelled(numbers)
            net = defaultdict(Decimal)
            for row in tables.pop("flow_line"):
                about = row["reverses"] or row["event"]
                where = tuple(names[row[column]] for column in ("holder", "location", "document", "batch"))
                for figure, written in ((row["uom"], row["qty"]), ("mass", row["kg"])):
                    if written is not None:
                        net[about, row["account"], where, row["t_event"], figure] += Decimal(written)
            return {
                "lines": {key: figure for key, figure in net.items() if figure},
                "balances": ledger.balances(),
                "notes": ledger.notes(),
                **{
                    name: sorted(
                        tuple(
                            names[value] if column in {"dst", "src", "child", "parent", "lot", "partner", "document"}
                            else value
                            for column, value in row.items()
                        )
                        for row in rows
                    )
                    for name, rows in tables.items()
                },
            }  # fmt: skip


def should_stand(events, owner=OWNER):
    """What balances come to when `events` are all that stands: the slow way, by the rules alone."""
    booked = [(event, derive(event, owner, 2**62)) for event in events]
    moves = []
    legs = defaultdict(list)
    for _, booking in booked:
        moves += booking.lines
        for leg in booking.legs:
            legs[leg.document, leg.batch, leg.side].append(leg)
    for group in legs.values():
        top = max(leg.rank for leg in group)
        moves += [line for leg in group if leg.rank == top for line in leg.lines]
    sums = defaultdict(list)
    for line in moves:
        if line.account in BALANCED:
            qty, uom = amount_of(line.qty, line.uom)
            key = (line.account, line.holder, line.location, line.document, line.batch, uom)
            sums[key].append((line.t_event, qty))
    counts = defaultdict(dict)
    for event, booking in booked:
        for count in booking.counts:
            qty, uom = amount_of(count.qty, count.uom)
            key = (Account.STOCK, count.holder, count.location, "", count.batch, uom)
            moment = (microseconds(event.time), event.hash)
            counts[key][moment] = counts[key].get(moment, 0) + qty
            sums[key] += []
    stands = {}
    for key, some in sums.items():
        if counts[key]:
            last = max(counts[key])
            after = sorted(some)[bisect_right([when for when, _ in sorted(some)], last[0]) :]
            stands[key] = counts[key][last] + sum(qty for _, qty in after)
        else:
            stands[key] = sum(qty for _, qty in some)
    return {key: qty for key, qty in stands.items() if qty}

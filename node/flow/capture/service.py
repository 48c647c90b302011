"""Capture: a document's events are stored once, with their ledger lines and edges, in one transaction.

Rules:

- `rollback` (the default) stores all or nothing; `proceed` stores what it can. A repeat is told and hurts nobody: the
  same events sent again, alone or among new ones, change nothing;
- the same document again gets its first job;
- who is killed in the middle has stored nothing, and sends again.
"""

from collections.abc import Sequence
from typing import NamedTuple

from node.flow.books.storage import Book, chunks, lock_book, open_book, save_book
from node.flow.capture.intake import Decision, Intake, Known, Verdict
from node.flow.capture.job import Behaviour, CaptureError, CaptureJob, Fault
from node.flow.capture.storage.deriving import Deriving, Taken, rebuild
from node.flow.capture.storage.events import EventRows
from node.flow.events.document import write
from node.flow.events.event import Event
from node.flow.ledger.derive import microseconds
from registry.clock import Clock
from registry.identifier import Prefix
from registry.storage.engine import Database

__all__ = ["NAME_LIMIT", "CaptureService"]

#: Characters of the longest URI that the tables take.
NAME_LIMIT = 1_000
_AT_ONCE = 2_000
_ID_LENGTH = 18


class _Plan(NamedTuple):
    """What becomes of one event of the document, under the number it gets."""

    taken: Taken
    decision: Decision


class CaptureService:
    """Takes events in for the prefixes that a node homes."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def capture(
        self,
        owner: Prefix,
        events: Sequence[Event],
        *,
        who: str,
        behaviour: Behaviour = Behaviour.ROLLBACK,
        digest: bytes | None = None,
    ) -> CaptureJob:
        """Store events in the book of a homed prefix.

        Args:
            owner: the homed prefix; that `who` may write there was asked before.
            events: validated and hashed.
            who: account that sends them.
            behaviour: what a refused event means for the others.
            digest: SHA-256 of the document, by which it is known again.

        Raises:
            UnavailableError: the database cannot be written; nothing was.
        """
        now = int(self._clock.now() * 1_000_000)
        with self._database.write() as connection:
            book = lock_book(connection, owner.key)
            rows = EventRows(connection, book.number)
            if digest is not None and (job := rows.job_of(digest)) is not None:
                return job
            plans, errors = _judge(book, rows, events, now)
            refused = any(error.fault.refuses for error in errors)
            if refused and behaviour is Behaviour.ROLLBACK:
                plans = []
            for part in chunks(plans, _AT_ONCE):
                _store(rows, part, book.next_capture)
                _derive(rows, Deriving(connection, book), part)
            book.next_event += len(plans)
            job = CaptureJob(
                str(book.next_capture), now, max(now, int(self._clock.now() * 1_000_000)), not refused,
                behaviour, len(plans), tuple(errors),
            )  # fmt: skip
            book.next_capture += 1
            rows.add_job(job, digest=digest, who=who)
            save_book(connection, book)
        return job

    def job(self, owner: Prefix, capture_id: str) -> CaptureJob | None:
        """Return a job; None when there is none under that id."""
        if not capture_id.isascii() or not capture_id.isdecimal() or len(capture_id) > _ID_LENGTH:
            return None
        with self._database.read() as connection:
            book = open_book(connection, owner.key)
            return None if book is None else EventRows(connection, book).job(int(capture_id))

    def rebuild(self, owner: Prefix) -> int:
        """Make ledger and genealogy of a book anew from its events; return how many events were read."""
        with self._database.write() as connection:
            return rebuild(connection, owner.key)


def _judge(
    book: Book, rows: EventRows, events: Sequence[Event], now: int
) -> tuple[list[_Plan], list[CaptureError]]:
    """Decide what becomes of every event, in the order of the document."""
    hashes = [_digest(event.hash) for event in events]
    intake = Intake()
    intake.learn(rows.known(hashes, (event.event_id for event in events)))
    plans: list[_Plan] = []
    errors: list[CaptureError] = []
    for position, (event, key) in enumerate(zip(events, hashes, strict=True)):
        fault, facts = _too_long(event), {}
        if fault is None:
            declares = event.declaration is not None
            decision = intake.decide(key, event.event_id, declares=declares)
            fault = decision.fault
            facts = {"number": str(decision.target.number)} if decision.target else {}
            if decision.verdict is not Verdict.PASS:
                number = book.next_event + len(plans)
                keeps = decision.verdict is Verdict.KEEP
                other = decision.target.number if decision.target and not keeps else 0
                if decision.target and not keeps:
                    decision.target.other = number
                intake.learn([Known(number, key, declares, event.event_id, keeps, other)])
                plans.append(_Plan(Taken(number, key, now, event), decision))
        if fault is not None:
            errors.append(CaptureError(position, event.event_id[:NAME_LIMIT], fault, facts))
    return plans, errors


def _store(rows: EventRows, plans: Sequence[_Plan], capture: int) -> None:
    stored = []
    # events of one document share their context
    contexts: dict[int, int] = {}
    for (number, key, t_record, event), decision in plans:
        other = decision.target.number if decision.target else 0
        if id(event.context) not in contexts:
            contexts[id(event.context)] = rows.context_number(event.context)
        stored.append({
            "number": number,
            "hash": key,
            "declares": int(event.declaration is not None),
            "event_id": event.event_id,
            "contradicts": int(decision.verdict is Verdict.KEEP),
            "void_by": other if decision.verdict is Verdict.VOID else 0,
            "voids": other if decision.verdict is Verdict.TAKE_BACK else 0,
            "t_event": microseconds(event.time),
            "t_record": t_record,
            "type": event.type,
            "biz_step": event.biz_step or "",
            "capture": capture,
            "context": contexts[id(event.context)],
            "content": write(event.content),
        })  # fmt: skip
    rows.insert(stored)


def _derive(rows: EventRows, deriving: Deriving, plans: Sequence[_Plan]) -> None:
    waiting: list[Taken] = []
    for taken, decision in plans:
        target = decision.target
        if decision.verdict is Verdict.BOOK:
            waiting.append(taken)
        elif decision.verdict is Verdict.TAKE_BACK and target is not None:
            deriving.book(waiting)
            waiting = []
            rows.void(target.number, taken.number)
            if not target.contradicts:
                stored = rows.one(target.number)
                old = Taken(stored.number, stored.hash, stored.t_record, stored.event)
                deriving.take_back(old, taken.number, taken.t_record)
        elif decision.verdict is Verdict.VOID and target is not None:
            rows.void(taken.number, target.number)
    deriving.book(waiting)
    for taken, decision in plans:
        if decision.verdict is Verdict.KEEP:
            deriving.note(taken.number, "same_id")
        elif decision.declared_otherwise:
            deriving.note(taken.number, "declared_otherwise")


def _digest(event_hash: str) -> bytes:
    """Return the 32 bytes that a hash URI spells."""
    return bytes.fromhex(event_hash.partition(";")[2].partition("?")[0])


def _too_long(event: Event) -> Fault | None:
    """Say whether a name in an event is longer than the tables take."""
    single = (event.event_id, event.parent, event.transformation_id, event.biz_location, event.read_point)
    longest = max(len(name) for name in single if name is not None)
    for names in (event.epcs, event.child_epcs, event.input_epcs, event.output_epcs):
        if names:
            longest = max(longest, *map(len, names))
    for quantities in (
        event.quantities, event.child_quantities, event.input_quantities, event.output_quantities,
    ):  # fmt: skip
        for one in quantities:
            longest = max(longest, len(one.epc_class))
    for pairs in (event.transactions, event.sources, event.destinations):
        for _, uri in pairs:
            longest = max(longest, len(uri))
    return Fault.NAME_LONG if longest > NAME_LIMIT else None

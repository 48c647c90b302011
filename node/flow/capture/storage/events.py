"""Events and capture jobs: stored as they came, read back without loss."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from node.flow.books.storage import chunks
from node.flow.capture.intake import Known
from node.flow.capture.job import Behaviour, CaptureError, CaptureJob, Fault
from node.flow.capture.storage.tables import flow_capture, flow_context, flow_event
from node.flow.events.document import write
from node.flow.events.event import Event, read
from registry.storage.bulk import Insert
from registry.trust.strict_json import loads_exact

__all__ = ["EventRows", "Stored"]

_INSERT = Insert(flow_event)
_KNOWN = (
    flow_event.c.number,
    flow_event.c.hash,
    flow_event.c.declares,
    flow_event.c.event_id,
    flow_event.c.contradicts,
    flow_event.c.void_by,
    flow_event.c.voids,
)


class Stored(NamedTuple):
    """An event as it stands in the table."""

    number: int
    hash: bytes
    declares: bool
    event_id: str
    contradicts: bool
    void_by: int
    voids: int
    t_record: int
    context: Any
    content: Mapping[str, Any]

    @property
    def uri(self) -> str:
        """The CBV hash as a URI."""
        return f"ni:///sha-256;{self.hash.hex()}?ver=CBV2.0"

    @property
    def event(self) -> Event:
        """The event itself."""
        return read(self.content, self.uri, self.context)


class EventRows:
    """The events and jobs of one book, inside somebody else's transaction."""

    def __init__(self, connection: Connection, book: int) -> None:
        self._connection = connection
        self._book = book
        self._contexts: dict[int, Any] = {0: None}

    def known(self, hashes: Iterable[bytes], ids: Iterable[str]) -> list[Known]:
        """Return what is stored under any of the hashes or ids, in the order of arrival."""
        found: dict[int, Known] = {}
        for column, values in (
            (flow_event.c.hash, sorted(set(hashes))),
            (flow_event.c.event_id, sorted(set(ids))),
        ):
            for part in chunks(values):
                asked = select(*_KNOWN).where(flow_event.c.book == self._book, column.in_(part))
                for row in self._connection.execute(asked):
                    found[row.number] = Known(
                        row.number, bytes(row.hash), bool(row.declares), row.event_id, bool(row.contradicts),
                        row.voids if row.declares else row.void_by,
                    )  # fmt: skip
        return [found[number] for number in sorted(found)]

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store events; the book's own number is added."""
        _INSERT.run(self._connection, [{"book": self._book, **row} for row in rows])

    def void(self, number: int, by: int) -> None:
        """Mark an event void, and its declaration as one that found it."""
        for found, values in ((number, {"void_by": by}), (by, {"voids": number})):
            self._connection.execute(
                update(flow_event)
                .where(flow_event.c.book == self._book, flow_event.c.number == found)
                .values(values)
            )

    def one(self, number: int) -> Stored:
        """Return the event of a number."""
        asked = select(flow_event).where(flow_event.c.book == self._book, flow_event.c.number == number)
        return self._stored(self._connection.execute(asked).one())

    def find(self, event_id: str) -> list[Stored]:
        """Return the events and declarations with an id, in the order of arrival."""
        asked = select(flow_event).where(flow_event.c.book == self._book, flow_event.c.event_id == event_id)
        return [self._stored(row) for row in self._connection.execute(asked.order_by(flow_event.c.number))]

    def all(self, size: int) -> Iterator[list[Stored]]:
        """Return every event in the order of arrival, some at a time."""
        last = 0
        while True:
            asked = select(flow_event).where(flow_event.c.book == self._book, flow_event.c.number > last)
            rows = self._connection.execute(asked.order_by(flow_event.c.number).limit(size)).all()
            if not rows:
                return
            yield [self._stored(row) for row in rows]
            last = rows[-1].number

    def ahead(self) -> dict[str, tuple[int, int]]:
        """Return the declarations that came ahead of their event: id -> (number, number of the event, 0: none)."""
        asked = select(flow_event.c.event_id, flow_event.c.number, flow_event.c.voids).where(
            flow_event.c.book == self._book,
            flow_event.c.declares == 1,
            or_(flow_event.c.voids == 0, flow_event.c.voids > flow_event.c.number),
        )
        found: dict[str, tuple[int, int]] = {}
        for event_id, number, voids in self._connection.execute(asked.order_by(flow_event.c.number)):
            found.setdefault(event_id, (number, voids))
        return found

    def context_number(self, context: Any) -> int:
        """Return the number of a JSON-LD context, which is stored when it is new; 0 for none."""
        if context is None:
            return 0
        content = write({"@context": context})
        digest = hashlib.sha256(content).digest()
        mine = flow_context.c.book == self._book
        asked = select(flow_context.c.number).where(mine, flow_context.c.sha256 == digest)
        known = self._connection.execute(asked).scalar()
        if known is not None:
            return int(known)
        last = self._connection.execute(select(func.max(flow_context.c.number)).where(mine)).scalar()
        number = int(last or 0) + 1
        self._connection.execute(
            insert(flow_context).values(book=self._book, number=number, sha256=digest, content=content)
        )
        return number

    def _stored(self, row: Row[Any]) -> Stored:
        if row.context not in self._contexts:
            asked = select(flow_context.c.content).where(
                flow_context.c.book == self._book, flow_context.c.number == row.context
            )
            written = self._connection.execute(asked).scalar_one()
            self._contexts[row.context] = loads_exact(bytes(written))["@context"]
        return Stored(
            row.number, bytes(row.hash), bool(row.declares), row.event_id, bool(row.contradicts), row.void_by,
            row.voids, row.t_record, self._contexts[row.context], loads_exact(bytes(row.content)),
        )  # fmt: skip

    # Jobs ----------------------------------------------------------------------------------------------------------

    def job_of(self, digest: bytes) -> CaptureJob | None:
        """Return the first successful job of a document."""
        asked = select(flow_capture).where(
            flow_capture.c.book == self._book,
            flow_capture.c.digest == digest,
            or_(flow_capture.c.success == 1, and_(flow_capture.c.proceed == 1, flow_capture.c.events > 0)),
        )
        row = self._connection.execute(asked.order_by(flow_capture.c.number).limit(1)).first()
        return None if row is None else _job(row, again=True)

    def job(self, number: int) -> CaptureJob | None:
        """Return a job by its number."""
        asked = select(flow_capture).where(flow_capture.c.book == self._book, flow_capture.c.number == number)
        row = self._connection.execute(asked).first()
        return None if row is None else _job(row)

    def jobs(self, *, after: int = 0, limit: int = 30) -> list[CaptureJob]:
        """Return jobs in the order in which they were made."""
        asked = select(flow_capture).where(flow_capture.c.book == self._book, flow_capture.c.number > after)
        rows = self._connection.execute(asked.order_by(flow_capture.c.number).limit(limit))
        return [_job(row) for row in rows]

    def add_job(self, job: CaptureJob, *, digest: bytes | None, who: str) -> None:
        """Keep a job."""
        errors = [
            [error.position, error.event_id, error.fault.value, dict(error.facts)] for error in job.errors
        ]
        self._connection.execute(
            insert(flow_capture).values(
                book=self._book, number=int(job.capture_id), digest=digest, who=who,
                created_at=job.created_at, finished_at=job.finished_at, success=int(job.success),
                proceed=int(job.behaviour is Behaviour.PROCEED), events=job.stored,
                errors=orjson.dumps(errors).decode(),
            )
        )  # fmt: skip


def _job(row: Row[Any], *, again: bool = False) -> CaptureJob:
    errors = tuple(
        CaptureError(position, event_id, Fault(fault), facts)
        for position, event_id, fault, facts in orjson.loads(row.errors)
    )
    return CaptureJob(
        str(row.number), row.created_at, row.finished_at, bool(row.success),
        Behaviour.PROCEED if row.proceed else Behaviour.ROLLBACK, row.events, errors, again=again,
    )  # fmt: skip

"""What the sources read and remember, inside the transaction that seals what they collect."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, and_, delete, func, or_, select, update

from federation.content.storage.tables import backfill, cursor, fault, own, put_rows, sent
from federation.exchange.storage.healing import HealingUnit
from registry.documents import unpack
from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from registry.storage.tables import audit, change, record

__all__ = ["Backfill", "Cursor", "SendingUnit"]

_CHUNK = 500
#: Cursor that says which restore was taken account of.
_RESTORED = "restored"
#: Digest of what has to be told again, whatever it is.
_UNTOLD = bytes(32)
_RECORD = (
    record.c.prefix,
    record.c.suffix,
    record.c.spelling,
    record.c.kind,
    record.c.status,
    record.c.version,
    record.c.modified,
    record.c.document,
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a source has come: read up to `position`, to be read up to `until`, in the period `slot`."""

    position: int = 0
    until: int = 0
    slot: int = -1


@dataclass(frozen=True, slots=True)
class Backfill:
    """How far the records of a homed prefix were read from the beginning.

    Attributes:
        prefix, suffix: match keys of the last record read.
        done: all were; the change table tells the rest.
        since: POSIX second of what is told; whatever was told with an earlier one is older, at every receiver.
    """

    prefix: str = ""
    suffix: str = ""
    done: bool = False
    since: int = 0


class SendingUnit:
    """The tables of what is sent, inside somebody else's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # how far the sources have come

    def cursor(self, source: str, owner: str = "") -> Cursor | None:
        """Return how far a source has come; None at its first run."""
        asked = select(cursor.c.position, cursor.c.until, cursor.c.slot)
        row = self._connection.execute(
            asked.where(cursor.c.source == source, cursor.c.owner == owner)
        ).first()
        return Cursor(row.position, row.until, row.slot) if row else None

    def put_cursor(self, source: str, made: Cursor, owner: str = "") -> None:
        """Remember how far a source has come."""
        row = {"position": made.position, "until": made.until, "slot": made.slot}
        put_rows(self._connection, cursor, [{"owner": owner, "source": source, **row}])

    def backfills(self) -> dict[str, Backfill]:
        """Return for each homed prefix how far its records were read."""
        rows = self._connection.execute(select(backfill))
        return {row.owner: Backfill(row.prefix, row.suffix, bool(row.done), row.since) for row in rows}

    def put_backfill(self, owner: str, made: Backfill) -> None:
        """Remember how far the records of a homed prefix were read."""
        row = {"prefix": made.prefix, "suffix": made.suffix, "done": int(made.done), "since": made.since}
        put_rows(self._connection, backfill, [{"owner": owner, **row}])

    def begin_again(self) -> int:
        """After a restore: let everything be told again, once; return when the last restore was, 0: never.

        What was told after the backup is not known here any more. So all that stands here now is told as something
        newer, and each receiver ends up with what its owner has.
        """
        restored = HealingUnit(self._connection).restored_at()
        known = self.cursor(_RESTORED)
        if not restored or (known is not None and known.position >= restored):
            return restored
        again = {"prefix": "", "suffix": "", "done": 0, "since": restored}
        self._connection.execute(update(backfill).values(again))
        self._connection.execute(update(sent).values(sha256=_UNTOLD))
        self._connection.execute(update(cursor).where(cursor.c.owner != "").values(slot=-1))
        self.put_cursor(_RESTORED, Cursor(position=restored))
        return restored

    # the registry's tables, read inside the sealing transaction

    def last_change(self) -> int:
        """Return the newest committed position of the change table."""
        return int(self._connection.execute(select(func.max(change.c.position))).scalar() or 0)

    def changes(self, after: int, until: int, limit: int) -> Sequence[tuple[int, str, str, int]]:
        """Return position, prefix, suffix and version of changes, oldest first."""
        asked = select(change.c.position, change.c.prefix, change.c.suffix, change.c.version)
        asked = asked.where(change.c.position > after, change.c.position <= until)
        rows = self._connection.execute(asked.order_by(change.c.position).limit(limit))
        return [(row.position, row.prefix, row.suffix, row.version) for row in rows]

    def records(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Record]:
        """Return records by the match keys of prefix and suffix; without their signatures."""
        by_prefix: dict[str, list[str]] = {}
        for prefix, suffix in places:
            by_prefix.setdefault(prefix, []).append(suffix)
        found: dict[tuple[str, str], Record] = {}
        for prefix, suffixes in by_prefix.items():
            for first in range(0, len(suffixes), _CHUNK):
                asked = select(*_RECORD).where(
                    record.c.prefix == prefix, record.c.suffix.in_(suffixes[first : first + _CHUNK])
                )
                for row in self._connection.execute(asked):
                    found[row.prefix, row.suffix] = _to_record(row)
        return found

    def records_after(self, owner: Prefix, prefix: str, suffix: str, limit: int) -> list[Record]:
        """Return records at or below a prefix, in the order of their keys; without their signatures."""
        asked = select(*_RECORD).where(
            or_(record.c.prefix == owner.key, _below(record.c.prefix, owner)),
            or_(record.c.prefix > prefix, and_(record.c.prefix == prefix, record.c.suffix > suffix)),
        )
        rows = self._connection.execute(asked.order_by(record.c.prefix, record.c.suffix).limit(limit))
        return [_to_record(row) for row in rows]

    def records_of_kind(self, owner: Prefix, kind: str, limit: int) -> list[Record]:
        """Return active records of one kind at a prefix, the first registered first."""
        asked = select(*_RECORD).where(
            record.c.prefix == owner.key, record.c.kind == kind, record.c.status == int(Status.ACTIVE)
        )
        rows = self._connection.execute(asked.order_by(record.c.suffix).limit(limit))
        return [_to_record(row) for row in rows]

    def count_records(self, owner: Prefix) -> int:
        """Count the identifiers at a prefix that are not deleted."""
        asked = select(func.count()).where(
            record.c.prefix == owner.key, record.c.status != int(Status.DELETED)
        )
        return int(self._connection.execute(asked).scalar_one())

    def count_registered(self, owner: Prefix, begin: int, end: int) -> int:
        """Count the identifiers at a prefix that were first registered between two moments."""
        asked = select(func.count()).where(
            audit.c.prefix == owner.key, audit.c.action == "register", audit.c.at >= begin, audit.c.at < end
        )
        return int(self._connection.execute(asked).scalar_one())

    def created(self, prefix: str, suffixes: Sequence[str]) -> dict[str, int]:
        """Return when identifiers were first registered, by suffix, as the audit trail tells."""
        found: dict[str, int] = {}
        for first in range(0, len(suffixes), _CHUNK):
            asked = select(audit.c.suffix, func.min(audit.c.at).label("at")).where(
                audit.c.prefix == prefix, audit.c.suffix.in_(suffixes[first : first + _CHUNK])
            )
            for row in self._connection.execute(asked.group_by(audit.c.suffix)):
                found[row.suffix] = row.at
        return found

    # what was sent, what people entered

    def sent(self, dataset: str, owner: str) -> dict[str, tuple[int, bytes | None, bool]]:
        """Return what was sent of a dataset: by key the version, the digest of its content, whether it is gone.

        The digest is None where it has to be told again.
        """
        asked = select(sent.c.key, sent.c.version, sent.c.sha256, sent.c.gone)
        rows = self._connection.execute(asked.where(sent.c.dataset == dataset, sent.c.owner == owner))
        found = {row.key: (row.version, bytes(row.sha256), bool(row.gone)) for row in rows}
        return {
            key: (version, None if sha256 == _UNTOLD else sha256, gone)
            for key, (version, sha256, gone) in found.items()
        }

    def put_sent(self, dataset: str, owner: str, rows: Iterable[tuple[str, int, bytes, bool]]) -> None:
        """Remember what was sent."""
        made = [
            {
                "owner": owner,
                "dataset": dataset,
                "key": key,
                "version": version,
                "sha256": sha,
                "gone": int(gone),
            }
            for key, version, sha, gone in rows
        ]
        put_rows(self._connection, sent, made)

    def next_version(self, dataset: str, owner: str, key: str, now: int) -> tuple[int, bool]:
        """Take the next version of one entry that is not compared by content; say whether it is the first.

        Never below the present second (`now`): what is told after an older backup was restored is newer for every
        receiver than whatever was told before, though nothing here remembers that.
        """
        asked = select(sent.c.version).where(
            sent.c.owner == owner, sent.c.dataset == dataset, sent.c.key == key
        )
        known = int(self._connection.execute(asked.with_for_update()).scalar() or 0)
        version = max(known + 1, now)
        self.put_sent(dataset, owner, [(key, version, bytes(32), False)])
        return version, not known

    def open_fault(self, owner: str, number: str) -> int | None:
        """Return the class of a fault that was told; 0 when it is over, None when there is none."""
        asked = select(fault.c["class"]).where(fault.c.owner == owner, fault.c.id == number)
        found = self._connection.execute(asked.with_for_update()).scalar()
        return None if found is None else int(found)

    def put_fault(self, owner: str, number: str, class_: int) -> None:
        """Remember a fault that was told; class 0: it is over."""
        put_rows(self._connection, fault, [{"owner": owner, "id": number, "class": class_}])

    def own(self, dataset: str, owner: str) -> list[tuple[str, dict[str, Any], int, str]]:
        """Return what people entered: key, content, time, who; by key."""
        asked = select(own).where(own.c.dataset == dataset, own.c.owner == owner).order_by(own.c.key)
        rows = self._connection.execute(asked)
        return [(row.key, orjson.loads(row.content), row.at, row.who) for row in rows]

    def put_own(
        self, dataset: str, owner: str, key: str, content: Mapping[str, Any], *, at: int, who: str
    ) -> None:
        """Store what somebody entered."""
        row = {"owner": owner, "dataset": dataset, "key": key, "at": at, "who": who}
        put_rows(self._connection, own, [{**row, "content": orjson.dumps(dict(content))}])

    def drop_own(self, dataset: str, owner: str, key: str) -> bool:
        """Remove what somebody entered; say whether it was there."""
        gone = self._connection.execute(
            delete(own).where(own.c.dataset == dataset, own.c.owner == owner, own.c.key == key)
        )
        return gone.rowcount > 0


def _below(column: Any, owner: Prefix) -> Any:
    # `.` is followed by `/` in the order of bytes, and no label begins with it
    return and_(column > f"{owner.key}.", column < f"{owner.key}/")


def _to_record(row: Any) -> Record:
    text = row.spelling or f"{row.prefix}/{row.suffix}"
    return Record(
        identifier=Identifier(text, Prefix(row.prefix), text[len(row.prefix) + 1 :]),
        kind=row.kind,
        version=row.version,
        status=Status(row.status),
        values=unpack(bytes(row.document), row.modified),
        modified=row.modified,
    )

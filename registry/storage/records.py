"""Reading and writing records, their search rows, the change feed and the audit trail.

A writer takes the row lock of the counter first. Whoever writes next waits there, so what was read inside the
transaction still holds when it commits: versions, idempotence and gapless positions need no other lock.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, bindparam, func, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from registry.documents import pack, unpack
from registry.errors import ConflictError
from registry.identifier import Identifier, Prefix
from registry.record import Record, RecordSignature, Status
from registry.results import Change
from registry.storage.audit import AuditRow, before_image, trail
from registry.storage.engine import Database
from registry.storage.search import Candidate, Pairs, find, move_rows
from registry.storage.tables import LAST_POSITION, audit, change, counter, record, signing_key

__all__ = ["RecordStore", "RecordUnit", "Write"]

#: A result row. SQLAlchemy types rows by their columns, up to ten of them; a record has eleven.
_Row: TypeAlias = Any
#: A signing key: kid, issuer, algorithm.
_Key: TypeAlias = tuple[str, str, str]

_CHUNK = 500
_COUNTER = "change"

_COLUMNS = (
    record.c.prefix,
    record.c.suffix,
    record.c.spelling,
    record.c.kind,
    record.c.status,
    record.c.version,
    record.c.modified,
    record.c.signer,
    record.c.signature,
    record.c.restricted,
    record.c.document,
)
_ONE = select(*_COLUMNS).where(record.c.prefix == bindparam("p"), record.c.suffix == bindparam("s"))
_MANY = select(*_COLUMNS).where(
    record.c.prefix == bindparam("p"), record.c.suffix.in_(bindparam("s", expanding=True))
)
_REPLACE = (
    update(record)
    .where(record.c.prefix == bindparam("p"), record.c.suffix == bindparam("s"))
    .values(
        {
            name: bindparam(f"n_{name}")
            for name in (
                "spelling", "kind", "status", "version", "modified", "signer", "signature", "restricted", "document"
            )
        }
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Write:
    """One record to store.

    Attributes:
        record: signed.
        before: what stood there, or None.
        who, action: for the audit trail.
        searchable: `(type, folded value)` pairs for the search table.
        stale: those of `before`.
    """

    record: Record
    before: Record | None
    who: str
    action: str
    searchable: Pairs
    stale: Pairs = frozenset()


class RecordUnit:
    """One transaction over the tables of this module."""

    def __init__(self, connection: Connection, keys: "_Keys") -> None:
        self._connection = connection
        self._keys = keys
        # numbers seen in this transaction: remembered by the store only once it is committed
        self.fresh: dict[_Key, int] = {}

    def get(self, identifiers: Sequence[Identifier]) -> dict[str, Record]:
        """Return the records that are there, by match key of the identifier."""
        if len(identifiers) == 1:
            only = identifiers[0]
            rows: Iterable[_Row] = self._connection.execute(
                _ONE, {"p": only.prefix.key, "s": only.suffix_key}
            )
            return self._records(rows)
        by_prefix: dict[str, list[str]] = {}
        for identifier in identifiers:
            by_prefix.setdefault(identifier.prefix.key, []).append(identifier.suffix_key)
        found: dict[str, Record] = {}
        for prefix, suffixes in by_prefix.items():
            for first in range(0, len(suffixes), _CHUNK):
                chunk = suffixes[first : first + _CHUNK]
                found |= self._records(self._connection.execute(_MANY, {"p": prefix, "s": chunk}))
        return found

    def lock(self) -> None:
        """Wait until no other writer is at work; needed before reading what is to be changed."""
        locked = self._connection.execute(
            select(counter.c.next).where(counter.c.name == _COUNTER).with_for_update()
        ).first()
        if locked is None:
            try:
                with self._connection.begin_nested():
                    self._connection.execute(insert(counter).values(name=_COUNTER, next=0))
            except IntegrityError:
                self.lock()

    def write(self, writes: Sequence[Write]) -> int:
        """Store records with their search, change and audit rows; return the last position.

        Raises:
            ConflictError: a record that was to be replaced is gone.
        """
        if not writes:
            return self.last_change()
        first = self._take(len(writes))
        self._store([w for w in writes if w.before is None], [w for w in writes if w.before is not None])
        move_rows(
            self._connection,
            ((w.record.identifier, w.stale - w.searchable, w.searchable - w.stale) for w in writes),
        )
        changes, entries = [], []
        for position, write in enumerate(writes, start=first):
            made = write.record
            place = {
                "position": position,
                "prefix": made.identifier.prefix.key,
                "suffix": made.identifier.suffix_key,
                "at": made.modified,
            }
            changes.append({**place, "version": made.version, "status": int(made.status)})
            entries.append(
                {**place, "who": write.who, "action": write.action, "before": before_image(write.before)}
            )
        self._connection.execute(insert(change), changes)
        self._connection.execute(insert(audit), entries)
        return first + len(writes) - 1

    def every(self, prefix: Prefix, *, after: str | None, limit: int) -> list[Record]:
        """Return whole records of a prefix, deleted ones too, by match key."""
        asked = select(*_COLUMNS).where(record.c.prefix == prefix.key).order_by(record.c.suffix).limit(limit)
        if after is not None:
            asked = asked.where(record.c.suffix > after)
        return [self._record(row) for row in self._connection.execute(asked)]

    def prefixes(self) -> list[Prefix]:
        """Return every prefix that has a record, in order; one step into the index for each."""
        found: list[Prefix] = []
        asked = select(record.c.prefix).order_by(record.c.prefix).limit(1)
        last = ""
        while (key := self._connection.execute(asked.where(record.c.prefix > last)).scalar()) is not None:
            found.append(Prefix(key))
            last = key
        return found

    def count(self, prefix: Prefix) -> int:
        """Count identifiers that are not deleted; both counts are read from indexes alone."""
        every = select(func.count()).where(record.c.prefix == prefix.key)
        # a literal, not a parameter: only so is the partial index used
        gone = every.where(record.c.status == literal_column(str(int(Status.DELETED))))
        total, deleted = (int(self._connection.execute(asked).scalar_one()) for asked in (every, gone))
        return total - deleted

    def find(self, prefix: Prefix, candidate: Candidate, *, after: str | None, limit: int) -> list[str]:
        """Return suffixes, ascending, whose search rows may match; the caller looks at the records."""
        return find(self._connection, prefix, candidate, after=after, limit=limit)

    def trail(self, identifier: Identifier, *, after: int, limit: int) -> list[AuditRow]:
        """Return audit rows of one identifier, oldest first."""
        return trail(self._connection, identifier, after=after, limit=limit)

    def changes(self, after: int, limit: int) -> list[Change]:
        """Return changes after a position, oldest first."""
        asked = (
            select(
                change.c.position,
                change.c.prefix,
                change.c.suffix,
                change.c.version,
                change.c.status,
                change.c.at,
            )
            .where(change.c.position > min(after, LAST_POSITION))
            .order_by(change.c.position)
            .limit(limit)
        )
        return [
            Change(row.position, f"{row.prefix}/{row.suffix}", row.version, row.status, row.at)
            for row in self._connection.execute(asked)
        ]

    def last_change(self) -> int:
        """Return the newest position; 0 before the first change."""
        found = self._connection.execute(select(counter.c.next).where(counter.c.name == _COUNTER)).scalar()
        return int(found or 0)

    def _take(self, number: int) -> int:
        """Take `number` positions; return the first."""
        taken = self._connection.execute(
            update(counter)
            .where(counter.c.name == _COUNTER)
            .values(next=counter.c.next + number)
            .returning(counter.c.next)
        ).scalar_one()
        return int(taken) - number + 1

    def _store(self, created: Sequence[Write], replaced: Sequence[Write]) -> None:
        if created:
            rows = [
                {
                    "prefix": w.record.identifier.prefix.key,
                    "suffix": w.record.identifier.suffix_key,
                    **self._row(w.record),
                }
                for w in created
            ]
            self._connection.execute(insert(record), rows)
        if replaced:
            done = self._connection.execute(
                _REPLACE,
                [
                    {
                        "p": w.record.identifier.prefix.key,
                        "s": w.record.identifier.suffix_key,
                        **{f"n_{name}": content for name, content in self._row(w.record).items()},
                    }
                    for w in replaced
                ],
            )
            if done.rowcount not in {-1, len(replaced)}:
                raise ConflictError("registry.record.lost_race")

    def _row(self, made: Record) -> dict[str, Any]:
        signature = made.signature
        identifier = made.identifier
        return {
            "spelling": identifier.text if identifier.text != identifier.key else None,
            "kind": made.kind,
            "status": int(made.status),
            "version": made.version,
            "modified": made.modified,
            "signer": self._number(signature) if signature else None,
            "signature": signature.public if signature else None,
            "restricted": signature.restricted if signature else None,
            "document": pack(made.values, made.modified),
        }

    def _records(self, rows: Iterable[_Row]) -> dict[str, Record]:
        found = {}
        for row in rows:
            made = self._record(row)
            found[made.identifier.key] = made
        return found

    def _record(self, row: _Row) -> Record:
        prefix, suffix, spelling, kind, status, version, modified, signer, public, restricted, document = (
            tuple(row)
        )
        signature = None
        if signer is not None:
            kid, issuer, alg = self._named(signer)
            hidden = bytes(restricted) if restricted is not None else None
            signature = RecordSignature(kid, issuer, bytes(public), hidden, alg)
        return Record(
            identifier=_spelled(prefix, suffix, spelling),
            kind=kind,
            version=version,
            status=Status(status),
            values=unpack(bytes(document), modified),
            modified=modified,
            signature=signature,
        )

    def _number(self, signature: RecordSignature) -> int:
        """Return the number of a signing key, giving it one the first time."""
        key = (signature.kid, signature.issuer, signature.alg)
        known = self._keys.by_key.get(key) or self.fresh.get(key)
        if known is not None:
            return known
        found = self._connection.execute(
            select(signing_key.c.id).where(signing_key.c.kid == key[0], signing_key.c.issuer == key[1])
        ).scalar()
        if found is None:
            found = self._connection.execute(
                insert(signing_key).values(kid=key[0], issuer=key[1], alg=key[2]).returning(signing_key.c.id)
            ).scalar_one()
        self.fresh[key] = int(found)
        return int(found)

    def _named(self, number: int) -> "_Key":
        """Return kid, issuer and algorithm of a numbered key."""
        known = self._keys.by_number.get(number)
        if known is None:
            row = self._connection.execute(
                select(signing_key.c.kid, signing_key.c.issuer, signing_key.c.alg).where(
                    signing_key.c.id == number
                )
            ).one()
            known = (row.kid, row.issuer, row.alg)
            self.fresh[known] = number
        return known

    def list(self, prefix: Prefix, *, after: str | None, limit: int, offset: int = 0) -> list[Identifier]:
        """Return identifiers that are not deleted, by match key."""
        asked = (
            select(record.c.prefix, record.c.suffix, record.c.spelling)
            .where(record.c.prefix == prefix.key, record.c.status != int(Status.DELETED))
            .order_by(record.c.suffix)
            .limit(limit)
            .offset(offset)
        )
        if after is not None:
            asked = asked.where(record.c.suffix > after)
        return [_identifier(row) for row in self._connection.execute(asked)]


class RecordStore:
    """Opens units of work over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys = _Keys()

    @contextmanager
    def read(self) -> Iterator[RecordUnit]:
        """Open a read-only snapshot."""
        with self._database.read() as connection:
            unit = RecordUnit(connection, self._keys)
            yield unit
        self._keys.settle(unit.fresh)

    @contextmanager
    def write(self) -> Iterator[RecordUnit]:
        """Open one transaction."""
        with self._database.write() as connection:
            unit = RecordUnit(connection, self._keys)
            yield unit
        self._keys.settle(unit.fresh)


class _Keys:
    """Numbers of signing keys that are committed, kept in memory; their rows are never changed or removed."""

    def __init__(self) -> None:
        self.by_number: dict[int, _Key] = {}
        self.by_key: dict[_Key, int] = {}

    def settle(self, fresh: dict[_Key, int]) -> None:
        """Take over what a transaction committed."""
        self.by_key.update(fresh)
        self.by_number.update({number: key for key, number in fresh.items()})


def _spelled(prefix: str, suffix: str, spelling: str | None) -> Identifier:
    if spelling is None:
        return Identifier(text=f"{prefix}/{suffix}", prefix=Prefix(prefix), suffix=suffix)
    return Identifier(text=spelling, prefix=Prefix(prefix), suffix=spelling[len(prefix) + 1 :])


def _identifier(row: _Row) -> Identifier:
    return _spelled(row.prefix, row.suffix, row.spelling)

"""Tables of deposits: those being made, those held for others, the keys they are made for, and take-overs.

Every table begins its key with a prefix. Digests are the raw 32 bytes; times are POSIX seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from federation.exchange.storage.sending_tables import exchange_lane, exchange_out
from registry.documents import unpack
from registry.identifier import Identifier, Prefix
from registry.record import Record, RecordSignature, Status
from registry.storage.engine import metadata
from registry.storage.prefix_rows import roots
from registry.storage.tables import change, record, signing_key

__all__ = ["EscrowUnit", "announced", "held", "made", "part", "superior_key", "takeover"]

_CHUNK = 500
#: Where records about prefixes stand.
_DELEGATIONS = "0.NA"
_STREAM = "report"


def _key(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


#: Deposits made here for a superior. `state`: `open` while parts are being made, `closed`, or `dropped`.
made = Table(
    "escrow_made",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("deposit", String(64), nullable=False),
    Column("receiver", _key(64), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("kind", String(4), nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("watermark", BigInteger, nullable=False),
    # how far it has come: a position of the change table, or the keys of a record
    Column("position", BigInteger, nullable=False),
    Column("prefix", _key(64), nullable=False),
    Column("suffix", _key(255), nullable=False),
    Column("parts", Integer, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "rev"),
)

#: Escrow keys that superiors announced.
superior_key = Table(
    "escrow_superior_key",
    metadata,
    Column("owner", _key(64), primary_key=True),
    Column("issuer", _key(64), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("key", LargeBinary(32), nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: To whom the node's own escrow key was announced.
announced = Table(
    "escrow_announced",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("child", _key(64), nullable=False),
    Column("kid", String(64), nullable=False),
    PrimaryKeyConstraint("owner", "child"),
)

#: Parts held for others, as received.
part = Table(
    "escrow_part",
    metadata,
    Column("receiver", _key(64), nullable=False),
    Column("owner", _key(64), nullable=False),
    Column("deposit", String(64), nullable=False),
    Column("part", Integer, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("receiver", "owner", "deposit", "part"),
)

#: Whole deposits held for others, with their signed manifests.
held = Table(
    "escrow_held",
    metadata,
    Column("receiver", _key(64), nullable=False),
    Column("owner", _key(64), nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("deposit", String(64), nullable=False),
    Column("kind", String(4), nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("watermark", BigInteger, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("manifest", Text, nullable=False),
    Column("env", String(43), nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("receiver", "owner", "rev"),
)

#: Prefixes this node answers for in place of their own nodes, and used to.
takeover = Table(
    "escrow_takeover",
    metadata,
    Column("owner", _key(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("receiver", _key(64), nullable=False),
    Column("rev", BigInteger, nullable=False),
    # when that deposit came
    Column("deposit_at", BigInteger, nullable=False),
    Column("chain", String(43), nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("began_by", Text, nullable=False),
    Column("ended_at", BigInteger),
    Column("ended_by", Text),
    Column("open", SmallInteger, nullable=False),
    PrimaryKeyConstraint("owner", "number"),
)

_RECORD = (
    record.c.prefix,
    record.c.suffix,
    record.c.spelling,
    record.c.kind,
    record.c.status,
    record.c.version,
    record.c.modified,
    record.c.document,
    record.c.signature,
    record.c.restricted,
    signing_key.c.kid,
    signing_key.c.issuer,
    signing_key.c.alg,
)
_SIGNED = select(*_RECORD).join(signing_key, signing_key.c.id == record.c.signer)


class EscrowUnit:
    """The tables of this room inside somebody else's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # what is deposited

    def last_change(self) -> int:
        """Return the newest committed position of the change table."""
        return int(self._connection.execute(select(func.max(change.c.position))).scalar() or 0)

    def changed(self, after: int, until: int, limit: int) -> list[tuple[int, str, str]]:
        """Return position, prefix and suffix of changes, oldest first."""
        asked = select(change.c.position, change.c.prefix, change.c.suffix)
        asked = asked.where(change.c.position > after, change.c.position <= until)
        rows = self._connection.execute(asked.order_by(change.c.position).limit(limit))
        return [(row.position, row.prefix, row.suffix) for row in rows]

    def records(self, places: Iterable[tuple[str, str]]) -> list[Record]:
        """Return records with their signatures, in the order of their keys."""
        by_prefix: dict[str, set[str]] = {}
        for prefix, suffix in places:
            by_prefix.setdefault(prefix, set()).add(suffix)
        found: list[Record] = []
        for prefix, wanted in sorted(by_prefix.items()):
            suffixes = sorted(wanted)
            for first in range(0, len(suffixes), _CHUNK):
                asked = _SIGNED.where(
                    record.c.prefix == prefix, record.c.suffix.in_(suffixes[first : first + _CHUNK])
                ).order_by(record.c.suffix)
                found += [_to_record(row) for row in self._connection.execute(asked)]
        return found

    def records_after(self, owner: Prefix, prefix: str, suffix: str, limit: int) -> list[Record]:
        """Return records at or below a prefix with their signatures, in the order of their keys."""
        below = and_(record.c.prefix > f"{owner.key}.", record.c.prefix < f"{owner.key}/")
        asked = _SIGNED.where(
            or_(record.c.prefix == owner.key, below, _named_below(owner)),
            or_(record.c.prefix > prefix, and_(record.c.prefix == prefix, record.c.suffix > suffix)),
        )
        rows = self._connection.execute(asked.order_by(record.c.prefix, record.c.suffix).limit(limit))
        return [_to_record(row) for row in rows]

    def delegations_below(self, owner: Prefix) -> list[Record]:
        """Return the records `0.NA/…` about prefixes below one, with their signatures."""
        rows = self._connection.execute(_SIGNED.where(_named_below(owner)).order_by(record.c.suffix))
        return [_to_record(row) for row in rows]

    def roots(self) -> list[str]:
        """Return the root documents this node knows, oldest version first."""
        return list(self._connection.scalars(select(roots.c.text).order_by(roots.c.version)))

    # deposits made here

    def last_made(self, owner: str, *, kind: str | None = None) -> Mapping[str, Any] | None:
        """Return the newest deposit of a prefix that was not dropped; `kind`: the newest closed one of it."""
        asked = select(made).where(made.c.owner == owner, made.c.state != "dropped")
        if kind is not None:
            asked = asked.where(made.c.kind == kind, made.c.state == "closed")
        return self._row(asked.order_by(made.c.rev.desc()).limit(1))

    def next_rev(self, owner: str) -> int:
        """Return the number of the next deposit of a prefix; dropped ones count."""
        last = self._connection.execute(select(func.max(made.c.rev)).where(made.c.owner == owner)).scalar()
        return int(last or 0) + 1

    def open(self, row: Mapping[str, Any]) -> None:
        """Begin a deposit."""
        self._connection.execute(insert(made).values(**row))

    def move(self, owner: str, rev: int, **values: Any) -> None:
        """Remember how far a deposit has come."""
        self._connection.execute(
            update(made).where(made.c.owner == owner, made.c.rev == rev).values(**values)
        )

    def deposits_made(self, owner: Prefix, limit: int) -> list[Mapping[str, Any]]:
        """Return the deposits of a prefix, newest first."""
        asked = select(made).where(made.c.owner == owner.key).order_by(made.c.rev.desc()).limit(limit)
        return self._rows(asked)

    def rejected(self, owner: Prefix, receiver: Prefix, limit: int) -> list[bytes]:
        """Return the newest envelopes with reports and deposits that the receiver refused for good."""
        columns, lanes = exchange_out.c, exchange_lane.c
        lane = (lanes.iss == owner.key, lanes.aud == receiver.key, lanes.stream == _STREAM)
        # the lane knows whether there is one at all, and most often there is none
        if not self._connection.execute(select(lanes.rejected).where(*lane)).scalar():
            return []
        asked = select(columns.token).where(
            columns.iss == owner.key,
            columns.aud == receiver.key,
            columns.stream == _STREAM,
            columns.outcome == "rejected",
        )
        newest = asked.order_by(columns.epoch.desc(), columns.seq.desc()).limit(limit)
        return [bytes(token) for token in self._connection.scalars(newest)]

    # keys

    def superior_keys(self) -> dict[str, tuple[str, str, bytes]]:
        """Return for each prefix whose superior announced an escrow key: issuer, kid, key."""
        rows = self._connection.execute(select(superior_key))
        return {row.owner: (row.issuer, row.kid, bytes(row.key)) for row in rows}

    def put_superior_key(self, owner: str, issuer: str, kid: str, key: bytes, at: int) -> None:
        """Keep the key a superior announced."""
        self._put(superior_key, {"owner": owner}, {"issuer": issuer, "kid": kid, "key": key, "at": at})

    def announced(self) -> dict[tuple[str, str], str]:
        """Return which key was announced: by owner and child."""
        return {(row.owner, row.child): row.kid for row in self._connection.execute(select(announced))}

    def put_announced(self, owner: str, child: str, kid: str) -> None:
        """Remember that a key was announced."""
        self._put(announced, {"owner": owner, "child": child}, {"kid": kid})

    # deposits held for others

    def add_part(self, row: Mapping[str, Any]) -> None:
        """Keep a part; the same place with another content is replaced: the deposit's digest decides."""
        names = ("receiver", "owner", "deposit", "part")
        self._put(part, {n: row[n] for n in names}, {n: v for n, v in row.items() if n not in names})

    def part_digests(self, receiver: str, owner: str, deposit: str) -> list[tuple[int, bytes]]:
        """Return number and digest of the parts of a deposit, in order."""
        asked = select(part.c.part, part.c.sha256).where(
            part.c.receiver == receiver, part.c.owner == owner, part.c.deposit == deposit
        )
        return [(r.part, bytes(r.sha256)) for r in self._connection.execute(asked.order_by(part.c.part))]

    def part_data(self, receiver: str, owner: str, deposit: str, number: int) -> bytes | None:
        """Return one part as received."""
        asked = select(part.c.data).where(
            part.c.receiver == receiver,
            part.c.owner == owner,
            part.c.deposit == deposit,
            part.c.part == number,
        )
        data = self._connection.execute(asked).scalar()
        return None if data is None else bytes(data)

    def add_held(self, row: Mapping[str, Any]) -> None:
        """Keep a whole deposit."""
        self._connection.execute(insert(held).values(**row))

    def held(self, receiver: str, owner: str | None = None) -> list[Mapping[str, Any]]:
        """Return whole deposits held at a prefix, by owner, newest first."""
        asked = select(held).where(held.c.receiver == receiver)
        if owner is not None:
            asked = asked.where(held.c.owner == owner)
        return self._rows(asked.order_by(held.c.owner, held.c.rev.desc()))

    def drop_held(self, receiver: str, owner: str, before: int) -> None:
        """Throw away deposits older than a revision, with their parts, and parts that belong to no deposit."""
        mine = (held.c.receiver == receiver, held.c.owner == owner)
        self._connection.execute(delete(held).where(*mine, held.c.rev < before))
        kept = select(held.c.deposit).where(*mine)
        self._connection.execute(
            delete(part).where(
                part.c.receiver == receiver, part.c.owner == owner, part.c.deposit.not_in(kept)
            )
        )

    # take-overs

    def takeovers(self, *, open_only: bool = False) -> list[Mapping[str, Any]]:
        """Return take-overs, the newest of each prefix first."""
        asked = select(takeover).order_by(takeover.c.owner, takeover.c.number.desc())
        return self._rows(asked.where(takeover.c.open == 1) if open_only else asked)

    def begin_takeover(self, row: Mapping[str, Any]) -> None:
        """Begin a take-over."""
        last = select(func.max(takeover.c.number)).where(takeover.c.owner == row["owner"])
        number = int(self._connection.execute(last).scalar() or 0) + 1
        self._connection.execute(insert(takeover).values(number=number, open=1, **row))

    def end_takeover(self, owner: str, *, at: int, by: str) -> bool:
        """End a take-over; say whether there was one."""
        ended = self._connection.execute(
            update(takeover)
            .where(takeover.c.owner == owner, takeover.c.open == 1)
            .values(open=0, ended_at=at, ended_by=by)
        )
        return ended.rowcount > 0

    def _put(self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        where = [table.c[name] == value for name, value in key.items()]
        if self._connection.execute(update(table).where(*where).values(**values)).rowcount == 0:
            self._connection.execute(insert(table).values(**key, **values))

    def _row(self, asked: Any) -> Mapping[str, Any] | None:
        row = self._connection.execute(asked).mappings().first()
        return None if row is None else dict(row)

    def _rows(self, asked: Any) -> list[Mapping[str, Any]]:
        return [dict(row) for row in self._connection.execute(asked).mappings()]


def _named_below(owner: Prefix) -> Any:
    return and_(
        record.c.prefix == _DELEGATIONS,
        record.c.suffix > f"{owner.key}.",
        record.c.suffix < f"{owner.key}/",
    )


def _to_record(row: Any) -> Record:
    text = row.spelling or f"{row.prefix}/{row.suffix}"
    hidden = bytes(row.restricted) if row.restricted is not None else None
    return Record(
        identifier=Identifier(text, Prefix(row.prefix), text[len(row.prefix) + 1 :]),
        kind=row.kind,
        version=row.version,
        status=Status(row.status),
        values=unpack(bytes(row.document), row.modified),
        modified=row.modified,
        signature=RecordSignature(row.kid, row.issuer, bytes(row.signature), hidden, row.alg),
    )

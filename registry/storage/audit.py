"""The audit trail: who did what when, and what stood there before; the next entry tells what stood there after."""

from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, select

from registry.documents import pack, unpack
from registry.identifier import Identifier
from registry.record import Record, Status
from registry.storage.tables import LAST_POSITION, audit

__all__ = ["AuditRow", "before_image", "trail"]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry of the audit trail as it is stored."""

    position: int
    at: int
    who: str
    action: str
    before: Record | None


def trail(connection: Connection, identifier: Identifier, *, after: int, limit: int) -> list[AuditRow]:
    """Return the entries of one identifier, oldest first."""
    asked = (
        select(audit.c.position, audit.c.at, audit.c.who, audit.c.action, audit.c.before)
        .where(
            audit.c.prefix == identifier.prefix.key,
            audit.c.suffix == identifier.suffix_key,
            audit.c.position > min(after, LAST_POSITION),
        )
        .order_by(audit.c.position)
        .limit(limit)
    )
    return [
        AuditRow(row.position, row.at, row.who, row.action, _from_image(identifier, row.before))
        for row in connection.execute(asked)
    ]


def before_image(made: Record | None) -> bytes | None:
    """Return a record as the trail keeps it: a line with its frame, then its values; without its signature."""
    if made is None:
        return None
    head = [made.identifier.text, made.kind, int(made.status), made.version, made.modified]
    return orjson.dumps(head) + b"\n" + pack(made.values, made.modified)


def _from_image(identifier: Identifier, stored: bytes | None) -> Record | None:
    if stored is None:
        return None
    head, _, document = bytes(stored).partition(b"\n")
    text, kind, status, version, modified = orjson.loads(head)
    return Record(
        identifier=Identifier(text, identifier.prefix, text[len(identifier.prefix.key) + 1 :]),
        kind=kind,
        version=version,
        status=Status(status),
        values=unpack(document, modified),
        modified=modified,
    )

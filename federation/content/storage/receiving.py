"""What arrived, in its newest version, with the envelope that is the evidence for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, and_, func, or_, select

from federation.content.dataset import Dataset, Entry, Operation
from federation.content.storage.tables import put_rows, received
from registry.identifier import Prefix

__all__ = ["ReceivedEntry", "ReceivedUnit"]


@dataclass(frozen=True, slots=True)
class ReceivedEntry:
    """One entry that arrived, in its newest version.

    Attributes:
        owner: who signed it.
        env: hash of the envelope that carried it.
        via: who relayed it, nearest to the owner first.
    """

    dataset: str
    owner: Prefix
    key: str
    entry: Entry
    env: str
    via: tuple[str, ...]
    received_at: int


class ReceivedUnit:
    """The table of what arrived, inside somebody else's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(
        self,
        dataset: Dataset,
        entries: Iterable[Entry],
        *,
        receiver: Prefix,
        owner: Prefix,
        env: str,
        via: Iterable[str],
        received_at: int,
    ) -> None:
        """Keep entries that arrived; what is older than what stands there is passed over."""
        newest: dict[str, dict[str, Any]] = {}
        way = " ".join(via)
        for entry in entries:
            key = dataset.key_of(entry.content)
            if key in newest and newest[key]["version"] > entry.version:
                continue
            newest[key] = {
                "receiver": receiver.key,
                "dataset": dataset.name,
                "owner": owner.key,
                "key": key,
                "schema": dataset.version,
                "version": entry.version,
                "operation": int(entry.operation),
                "at": entry.at,
                "content": orjson.dumps(dict(entry.content)),
                "withheld": " ".join(entry.withheld),
                "env": env,
                "via": way,
                "received_at": received_at,
            }
        put_rows(self._connection, received, list(newest.values()), newer="version")

    def entries(
        self,
        dataset: str,
        receiver: Prefix,
        *,
        owner: Prefix | None = None,
        after: tuple[str, str] = ("", ""),
        limit: int = 100,
        gone: bool = False,
    ) -> list[ReceivedEntry]:
        """Return entries that arrived at a prefix, by owner and key; `gone`: deleted ones too."""
        asked = select(received).where(
            received.c.receiver == receiver.key,
            received.c.dataset == dataset,
            or_(received.c.owner > after[0], and_(received.c.owner == after[0], received.c.key > after[1])),
        )
        if owner is not None:
            asked = asked.where(received.c.owner == owner.key)
        if not gone:
            asked = asked.where(received.c.operation != int(Operation.DELETE))
        rows = self._connection.execute(asked.order_by(received.c.owner, received.c.key).limit(limit))
        return [_to_received(row) for row in rows]

    def one(self, dataset: str, receiver: Prefix, owner: Prefix, key: str) -> ReceivedEntry | None:
        """Return one entry that arrived."""
        asked = select(received).where(
            received.c.receiver == receiver.key,
            received.c.dataset == dataset,
            received.c.owner == owner.key,
            received.c.key == key,
        )
        row = self._connection.execute(asked).first()
        return _to_received(row) if row else None

    def counts(self, receiver: Prefix) -> dict[str, int]:
        """Return how many entries arrived at a prefix, by dataset; deleted ones not."""
        asked = (
            select(received.c.dataset, func.count().label("number"))
            .where(received.c.receiver == receiver.key, received.c.operation != int(Operation.DELETE))
            .group_by(received.c.dataset)
        )
        return {row.dataset: int(row.number) for row in self._connection.execute(asked)}


def _to_received(row: Any) -> ReceivedEntry:
    return ReceivedEntry(
        dataset=row.dataset,
        owner=Prefix(row.owner),
        key=row.key,
        entry=Entry(
            version=row.version,
            operation=Operation(row.operation),
            at=row.at,
            content=orjson.loads(bytes(row.content)),
            withheld=tuple(row.withheld.split()),
        ),
        env=row.env,
        via=tuple(row.via.split()),
        received_at=row.received_at,
    )

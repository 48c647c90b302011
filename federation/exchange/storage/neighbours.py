"""The unit of work over what belongs to neighbours rather than to an envelope: chains, bodies, sessions."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from federation.exchange.storage.rows import Session
from federation.exchange.storage.tables import exchange_body, exchange_chain, exchange_session

__all__ = ["NeighbourUnit", "parts"]

_PART = 500


class NeighbourUnit:
    """One unit of work; it commits with the transaction it was opened in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # chains

    def put_chain(self, sha256: bytes, subject: str, tokens: Sequence[str], *, ver: int, at: int) -> None:
        """Keep a chain, once."""
        known = select(exchange_chain.c.sha256).where(exchange_chain.c.sha256 == sha256)
        if self._connection.execute(known).first() is not None:
            return
        try:
            with self._connection.begin_nested():
                self._connection.execute(
                    insert(exchange_chain).values(
                        sha256=sha256, subject=subject, tokens="\n".join(tokens), ver=ver, at=at
                    )
                )
        except (
            IntegrityError
        ):  # another process was quicker; the content is the same, it is named by its hash
            return

    def chain(self, sha256: bytes) -> tuple[str, ...] | None:
        """Return a chain by its hash, leaf first."""
        query = select(exchange_chain.c.tokens).where(exchange_chain.c.sha256 == sha256)
        found = self._connection.execute(query).scalar()
        return tuple(found.split("\n")) if found is not None else None

    def chain_subject(self, sha256: bytes) -> str | None:
        """Return whom a kept chain is about."""
        query = select(exchange_chain.c.subject).where(exchange_chain.c.sha256 == sha256)
        found: str | None = self._connection.execute(query).scalar()
        return found

    def newest_chain(self, subject: str) -> tuple[str, ...] | None:
        """Return the newest kept chain of a subject, leaf first."""
        columns = exchange_chain.c
        query = (
            select(columns.tokens)
            .where(columns.subject == subject)
            .order_by(columns.ver.desc(), columns.at.desc())
            .limit(1)
        )
        found = self._connection.execute(query).scalar()
        return tuple(found.split("\n")) if found is not None else None

    # bodies

    def body(self, sha256: bytes) -> bytes | None:
        """Return a detached body."""
        query = select(exchange_body.c.data).where(exchange_body.c.sha256 == sha256)
        found = self._connection.execute(query).scalar()
        return bytes(found) if found is not None else None

    def has_body(self, sha256: bytes) -> bool:
        """Say whether a detached body is here."""
        query = select(exchange_body.c.size).where(exchange_body.c.sha256 == sha256)
        return self._connection.execute(query).first() is not None

    def put_body(self, sha256: bytes, data: bytes, *, peer: str, at: int) -> bool:
        """Keep a detached body until its envelope comes; False when it is here already."""
        if self.has_body(sha256):
            return False
        try:
            with self._connection.begin_nested():
                self._connection.execute(
                    insert(exchange_body).values(
                        sha256=sha256, data=data, size=len(data), peer=peer, used=0, at=at
                    )
                )
        except IntegrityError:
            return False
        return True

    def unclaimed(self, peer: str) -> int:
        """Return how many bytes of this peer's bodies no envelope has claimed."""
        columns = exchange_body.c
        query = select(func.coalesce(func.sum(columns.size), 0)).where(
            columns.peer == peer, columns.used == 0
        )
        return int(self._connection.execute(query).scalar_one())

    def claim_bodies(self, digests: Iterable[bytes]) -> None:
        """Keep these bodies for as long as their envelopes."""
        for part in parts(list(digests)):
            self._connection.execute(
                update(exchange_body).where(exchange_body.c.sha256.in_(part)).values(used=1)
            )

    def forget_bodies(self, before: int) -> int:
        """Throw bodies away that no envelope claimed since `before`; return how many."""
        columns = exchange_body.c
        return self._connection.execute(
            delete(exchange_body).where(columns.used == 0, columns.at < before)
        ).rowcount

    # sessions

    def session(self, prefix: str, *, lock: bool = False) -> Session | None:
        """Return the newest copy of a peer that opened a session."""
        query = select(exchange_session).where(exchange_session.c.prefix == prefix)
        row = self._connection.execute(query.with_for_update() if lock else query).first()
        return Session(bytes(row.instance), int(row.fence), row.kid) if row else None

    def put_session(self, prefix: str, session: Session, *, at: int) -> None:
        """Remember which copy of a peer talks to us."""
        values = {"instance": session.instance, "fence": session.fence, "kid": session.kid, "at": at}
        changed = self._connection.execute(
            update(exchange_session).where(exchange_session.c.prefix == prefix).values(**values)
        )
        if changed.rowcount == 0:
            self._connection.execute(insert(exchange_session).values(prefix=prefix, **values))


def parts(keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    """Return keys in parts small enough for one query."""
    for start in range(0, len(keys), _PART):
        yield keys[start : start + _PART]

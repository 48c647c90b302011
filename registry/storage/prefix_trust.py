"""The unit of work over revocation lists, revoked keys, and the keys that prefixes had.

What is known against a key is merged over all lists ever seen and never taken out, also when marks are forgotten.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, Table, func, insert, select, update

from registry.identifier import Prefix
from registry.storage.prefix_rows import dump, key_lists, keys, mark_keys, marks, revocations, revoked
from registry.trust.historical import HistoricalKey, KeyHistory
from registry.trust.marks import Act
from registry.trust.revocation import (
    LastGood,
    Reason,
    RevocationBook,
    RevocationList,
    Revoked,
    Signed,
    last_good_claim,
    list_advances,
    stands,
)
from registry.trust.statement import Statement

__all__ = ["TrustUnit"]


class TrustUnit:
    """Part of the unit of work over prefixes: it commits with it or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # revocation lists

    def revocation(self, issuer: str) -> tuple[int, str, str] | None:
        """Return version, SHA-256 and text of the newest list of an issuer (folded prefix; `0.NA` is the root)."""
        query = select(revocations.c.version, revocations.c.sha256, revocations.c.token)
        row = self._connection.execute(query.where(revocations.c.issuer == issuer)).first()
        return (int(row[0]), str(row[1]), str(row[2])) if row else None

    def put_revocation(self, made: RevocationList) -> bool:
        """Store a verified list and merge what it says into what is known; say whether it was new.

        Raises:
            UntrustedError: it is older than the list known, or another one of the same version.
        """
        known = self.revocation(made.issuer_name)
        if not list_advances(made.issuer_name, _place(known), (made.ver, made.sha256)):
            return False
        row = {"version": made.ver, "sha256": made.sha256, "expires": made.exp, "token": made.token}
        self._put(revocations, {"issuer": made.issuer_name}, row)
        for entry in made.revoked:
            self.put_revoked(made.issuer_name, entry)
        return True

    def revoked(self, issuer: str) -> list[Revoked]:
        """Return every key an issuer ever revoked, the first one first."""
        query = select(revoked).where(revoked.c.issuer == issuer)
        rows = self._connection.execute(query.order_by(revoked.c.revoked_at, revoked.c.kid)).mappings()
        return [_to_revoked(row) for row in rows]

    def find_revoked(self, issuer: str, kid: str) -> Revoked | None:
        """Return what an issuer said against a key."""
        query = select(revoked).where(revoked.c.issuer == issuer, revoked.c.kid == kid)
        row = self._connection.execute(query).mappings().first()
        return _to_revoked(row) if row else None

    def put_revoked(self, issuer: str, entry: Revoked) -> Revoked:
        """Merge what is said against a key into what is known; return what holds now."""
        known = self.find_revoked(issuer, entry.kid)
        holds = known.merged(entry) if known else entry
        if holds != known:
            row = {
                "revoked_at": holds.revoked_at,
                "reason": holds.reason.value,
                "last_good": dump(last_good_claim(holds.last_good)),
            }
            self._put(revoked, {"issuer": issuer, "kid": entry.kid}, row)
        return holds

    def book(self) -> RevocationBook:
        """Return everything known against keys."""
        rows = self._connection.execute(select(revoked)).mappings().all()
        ends = self._connection.execute(select(revocations.c.issuer, revocations.c.expires)).all()
        return RevocationBook(
            entries={(row["issuer"], row["kid"]): _to_revoked(row) for row in rows},
            expires={issuer: int(expires) for issuer, expires in ends},
        )

    # keys of the prefixes below

    def note_keys(self, statement: Statement) -> bool:
        """Remember the keys of a statement made here, and which of those known have left it.

        Returns:
            whether anything changed.
        """
        subject, issuer = statement.subject.key, statement.issuer_name
        known = {key.kid: key for key in self.keys(statement.subject, issuer)}
        changed = False
        for key in statement.keys:
            old = known.pop(key.kid, None)
            if old is not None and old.exp == key.exp:
                continue
            changed = True
            row = {"issuer": issuer, "alg": key.alg, "jwk": dump(dict(key.jwk)), "purpose": key.use}
            iat = old.iat if old else key.nbf
            self._put(keys, {"subject": subject, "kid": key.kid}, {**row, "iat": iat, "exp": key.exp})
        for left in known.values():
            if left.exp is None or left.exp > statement.iat:
                changed = True
                where = (keys.c.subject == subject, keys.c.kid == left.kid)
                ended = max(left.iat, statement.iat)
                self._connection.execute(update(keys).where(*where).values(exp=ended))
        return changed

    def keys(self, subject: Prefix, issuer: str) -> list[HistoricalKey]:
        """Return every key this node certified for a prefix, oldest first, with what is known against it."""
        query = select(keys).where(keys.c.subject == subject.key).order_by(keys.c.iat, keys.c.kid)
        against = {entry.kid: entry for entry in self.revoked(issuer)}
        return [
            HistoricalKey(
                kid=row["kid"],
                alg=row["alg"],
                jwk=orjson.loads(row["jwk"]),
                use=row["purpose"],
                iat=int(row["iat"]),
                exp=None if row["exp"] is None else int(row["exp"]),
                revoked=against[row["kid"]].revoked_at if row["kid"] in against else None,
            )
            for row in self._connection.execute(query).mappings()
        ]

    def key_list(self, subject: Prefix) -> tuple[int, str, str] | None:
        """Return version, SHA-256 and text of the newest list of all keys of a prefix."""
        query = select(key_lists.c.version, key_lists.c.sha256, key_lists.c.token)
        row = self._connection.execute(query.where(key_lists.c.subject == subject.key)).first()
        return (int(row[0]), str(row[1]), str(row[2])) if row else None

    def count_key_lists(self, issuer: str) -> int:
        """Return for how many prefixes below an issuer there is a list of keys."""
        query = select(func.count()).select_from(key_lists).where(key_lists.c.issuer == issuer)
        return int(self._connection.execute(query).scalar_one())

    def put_key_list(self, made: KeyHistory) -> bool:
        """Store a verified list; say whether it was new.

        Raises:
            UntrustedError: it is older than the list known, or another one of the same version.
        """
        known = self.key_list(made.subject)
        if not list_advances(made.issuer_name, _place(known), (made.ver, made.sha256)):
            return False
        row = {"issuer": made.issuer_name, "version": made.ver, "sha256": made.sha256, "token": made.token}
        self._put(key_lists, {"subject": made.subject.key}, row)
        return True

    # beside the marks

    def mark_keys(self, subject: str) -> frozenset[str] | None:
        """Return the keys that sign for a subject, as of its newest statement seen."""
        query = select(mark_keys.c.kids).where(mark_keys.c.subject == subject)
        found = self._connection.execute(query).scalar()
        return None if found is None else frozenset(orjson.loads(found))

    def put_mark_keys(self, subject: str, version: int, kids: Sequence[str]) -> None:
        """Remember which keys sign for a subject."""
        self._put(mark_keys, {"subject": subject}, {"version": version, "kids": dump(sorted(kids))})

    def against(self, issuer: str, act: Act) -> Revoked | None:
        """Return the revocation under which a statement of `issuer` does not stand, if there is one.

        Who speaks against the issuer's keys is its own superior, which the mark of the issuer names; the root's keys
        are the root's own business.
        """
        above = select(marks.c.issuer).where(marks.c.subject == issuer).scalar_subquery()
        query = select(revoked).where(revoked.c.kid == act.kid)
        query = query.where(revoked.c.issuer == (issuer if issuer == _ROOT else above))
        row = self._connection.execute(query).mappings().first()
        if row is None:
            return None
        entry = _to_revoked(row)
        return None if stands(entry, Signed(at=act.iat)) else entry

    def forget_versions(self, issuer: str) -> None:
        """Take the next lists of an issuer whose keys were all replaced, whatever their version; what was said stays.

        The number itself is kept: where the issuer is this node, its own lists count on from it.
        """
        for table in (revocations, key_lists):
            where = table.c.issuer == issuer
            self._connection.execute(update(table).where(where).values(sha256=""))

    def _put(self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        where = [table.c[name] == value for name, value in key.items()]
        if self._connection.execute(update(table).where(*where).values(**values)).rowcount == 0:
            self._connection.execute(insert(table).values(**key, **values))


_ROOT = "0.NA"


def _place(known: tuple[int, str, str] | None) -> tuple[int, str] | None:
    """Return what the next list is held against; nothing once the versions were forgotten."""
    return known[:2] if known and known[1] else None


def _to_revoked(row: RowMapping) -> Revoked:
    last = orjson.loads(row["last_good"])
    return Revoked(
        kid=row["kid"],
        revoked_at=int(row["revoked_at"]),
        reason=Reason(row["reason"]),
        last_good={name: LastGood(**place) for name, place in last.items()},
    )

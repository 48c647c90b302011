"""Publishing delegations as records `0.NA/<prefix>`, safe against a crash at any point.

A statement and its record live in two tables behind two units of work. The order makes that safe: the statement is
committed first, marked as not published; then the record is written through the registry like any other; then the
mark is taken off. Whatever is killed in between, the mark is still there at the next start, and writing the same
content again changes nothing (the registry answers UNCHANGED). So the statement is never lost, never published
twice under different bytes, and never published without being stored.
"""

from collections.abc import Sequence
from typing import Protocol

import orjson

from registry.delegation import Delegation
from registry.errors import HazlinkError
from registry.identifier import Identifier, Prefix
from registry.prefixes.issuing import Terms
from registry.principal import Grant, Principal, Role
from registry.record import PREFIX_KIND, Draft, Record
from registry.results import AuditEntry, IfPresent, Page, Result
from registry.storage.prefixes import PrefixStore
from registry.structured import admin_data
from registry.trust.statement import read
from registry.value import ADMIN_INDEX, CERT_INDEX, KEY_INDEX, Value

__all__ = ["Publisher", "Records", "node_principal"]

#: Every HS_ADMIN right of the facts file, §2.
_ALL_RIGHTS = 0x0FFF


class Records(Protocol):
    """What prefixes need of the registry; see `registry.service.Registry` for the contract."""

    def register(
        self,
        principal: Principal,
        draft: Draft,
        *,
        if_present: IfPresent = IfPresent.CONFIRM,
        expected_version: int | None = None,
    ) -> Result:
        """Register or replace a record."""
        ...

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return records, whole and unfiltered."""
        ...

    def put_copy(self, record: Record) -> None:
        """Store a record that somebody else signed."""
        ...

    def put_copies(self, records: Sequence[Record]) -> None:
        """Store many such records in one transaction."""
        ...

    def history(
        self, principal: Principal, identifier: Identifier, *, after: int = 0, limit: int = 100
    ) -> list[AuditEntry]:
        """Return the trail of a record."""
        ...

    def resign(self, prefix: Prefix) -> int:
        """Sign every record of a prefix again with the key in use now."""
        ...

    def list(
        self, principal: Principal, prefix: Prefix, *, after: str | None = None, limit: int = 100
    ) -> Page:
        """Return identifiers of a prefix, page by page."""
        ...


class Publisher:
    """Writes the records of delegations whose newest statement is not published yet."""

    def __init__(self, *, store: PrefixStore, records: Records, terms: Terms) -> None:
        self._store = store
        self._records = records
        self._terms = terms

    def publish(self) -> int:
        """Publish what waits; return how many. One that fails does not hold up the others.

        Raises:
            HazlinkError: the first failure, after everything else was published; it is tried again next time.
        """
        with self._store.read() as unit:
            waiting = unit.unpublished()
        done, failure = 0, None
        for made in waiting:
            try:
                self._publish(made)
                done += 1
            except HazlinkError as error:
                failure = failure or error
        if failure:
            raise failure
        return done

    def _publish(self, made: Delegation) -> None:
        handle = made.prefix.handle
        draft = Draft(identifier=handle.text, kind=PREFIX_KIND, values=self._values(made))
        self._records.register(node_principal(handle.authority), draft, if_present=IfPresent.REPLACE)
        with self._store.write() as unit:
            unit.mark_published(made.prefix, made.version)

    def _values(self, made: Delegation) -> tuple[Value, ...]:
        ttl = self._terms.record_ttl_seconds
        key = read(made.token).keys[0]
        authority = made.prefix.handle.authority
        return (
            Value(
                index=ADMIN_INDEX,
                type="HS_ADMIN",
                data=admin_data(authority.handle.text, KEY_INDEX, _ALL_RIGHTS),
                ttl=ttl,
            ),
            Value(index=KEY_INDEX, type="HS_PUBKEY", data=orjson.dumps(dict(key.jwk)), ttl=ttl),
            Value(index=CERT_INDEX, type="HS_CERT", data=made.token.encode(), ttl=ttl),
        )


def node_principal(prefix: Prefix) -> Principal:
    """Return the node itself, acting for a prefix it homes."""
    return Principal(name=f"300:0.NA/{prefix}", grants=frozenset({Grant(prefix, Role.ADMIN)}))

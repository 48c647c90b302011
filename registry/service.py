"""The registry: register, change, withdraw, find, look back.

Rules:

- the syntax is checked first, then who may write, then the template, then what stands there (`registry.versions`);
- the writer takes the lock before it reads what it is going to change;
- each version is signed, and stored with its search, change and audit rows in one transaction, or not at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from registry import versions
from registry.clock import Clock
from registry.errors import (
    ConflictError,
    HazlinkError,
    InvalidValueError,
    LimitError,
    MalformedError,
    NotFoundError,
)
from registry.finding import Finder, owner_of
from registry.identifier import Identifier, Prefix
from registry.model_check import aligned, check_values
from registry.ports import Signers, Templates
from registry.principal import Operation, Principal
from registry.record import Draft, Record, Status
from registry.results import AuditEntry, Change, Done, IfPresent, Page, Result, SetMode
from registry.storage.engine import Database
from registry.storage.records import RecordStore, RecordUnit, Write
from registry.trust.record_signature import sign_record
from registry.value import Value

__all__ = ["MAX_BATCH", "Registry"]

MAX_BATCH = 2_000
_RESIGN_PAGE = 500
#: Where records about prefixes stand.
_DELEGATIONS = Prefix("0.NA")

#: What the audit trail calls the two ways to end.
_ENDING = {Status.WITHDRAWN: "withdraw", Status.DELETED: "delete"}

#: Makes the new values of a record from what stands there.
_Edit = Callable[[Record], tuple[Value, ...]]


class Registry:
    """All records of the prefixes this node homes.

    Consistency: a call sees every write committed before it began. Durability: a write that returned is on the disk.
    Concurrency: any number of threads and processes; calls block. Errors: the vocabulary of `registry.errors`;
    nothing was written when one is raised.
    """

    def __init__(
        self,
        *,
        database: Database,
        signers: Signers,
        templates: Templates,
        clock: Clock,
        salts: Callable[[int], bytes],
    ) -> None:
        self._store = RecordStore(database)
        self._signers = signers
        self._templates = templates
        self._clock = clock
        self._salts = salts
        self._finder = Finder(store=self._store, signers=signers, templates=templates)

    def register(
        self,
        principal: Principal,
        draft: Draft,
        *,
        if_present: IfPresent = IfPresent.CONFIRM,
        expected_version: int | None = None,
    ) -> Result:
        """Register a record, confirm it, or replace it.

        Raises:
            MalformedIdentifierError, InvalidValueError, LimitError: the draft is wrong; `field` says where.
            UnauthenticatedError, ForbiddenError, NotResponsibleError: not by this principal, not here.
            ExistsError: other content stands there and `if_present` is CONFIRM.
            GoneError: the record was withdrawn.
            ConflictError: it is not at `expected_version`.
        """
        checked = self._check(principal, draft)
        with self._store.write() as unit:
            unit.lock()
            before = unit.get([checked.identifier]).get(checked.identifier.key)
            versions.expect(checked.identifier, before, expected_version)
            made = self._decided(checked, before, if_present)
            if made is not None:
                unit.write([self._write(made, before, principal, "replace" if before else "register")])
        return versions.result(draft.identifier, before, made)

    def register_many(
        self,
        principal: Principal,
        drafts: Sequence[Draft],
        *,
        if_present: IfPresent = IfPresent.CONFIRM,
        dry_run: bool = False,
    ) -> list[Result]:
        """Register up to 2,000 records; one result each, in order, whatever becomes of the others.

        Raises:
            LimitError: more than 2,000.
            UnavailableError: the database cannot be written; nothing was.
        """
        if len(drafts) > MAX_BATCH:
            raise LimitError("registry.record.batch", field="drafts", count=len(drafts), limit=MAX_BATCH)
        checked = self._check_all(principal, drafts)
        results: list[Result] = []
        writes: list[Write] = []
        with self._store.read() if dry_run else self._store.write() as unit:
            if not dry_run:
                unit.lock()
            present = unit.get([c.identifier for c in checked if isinstance(c, versions.Checked)])
            for draft, item in zip(drafts, checked, strict=True):
                if isinstance(item, HazlinkError):
                    results.append(Result(draft.identifier, Done.REFUSED, error=item))
                    continue
                before = present.get(item.identifier.key)
                try:
                    made = self._decided(item, before, if_present)
                except HazlinkError as error:
                    results.append(Result(draft.identifier, Done.REFUSED, error=error))
                    continue
                if made is not None and not dry_run:
                    writes.append(self._write(made, before, principal, "replace" if before else "register"))
                results.append(versions.result(draft.identifier, before, made))
            if writes:
                unit.write(writes)
        return results

    def set_values(
        self,
        principal: Principal,
        identifier: Identifier | str,
        *,
        values: Iterable[Value] = (),
        fields: Mapping[str, str] | None = None,
        mode: SetMode = SetMode.PUT,
        expected_version: int | None = None,
    ) -> Result:
        """Add or replace single values, given by index or as fields of the record's template.

        Raises:
            NotFoundError, GoneError: nothing active stands there.
            ValueExistsError: mode ADD and the index is taken.
            ValueNotFoundError: mode MODIFY and the index is not there.
            And those of `register`.
        """
        named = fields or {}
        given = tuple(values)
        check_values(given)

        def edit(record: Record) -> tuple[Value, ...]:
            made = (*self._templates.values_of(record.kind, named), *given)
            return versions.merged(record, made, mode, fields=named)

        return self._edit(principal, identifier, edit, "set", expected_version)

    def remove_values(
        self,
        principal: Principal,
        identifier: Identifier | str,
        indexes: Iterable[int],
        *,
        expected_version: int | None = None,
    ) -> Result:
        """Remove single values.

        Raises:
            ValueNotFoundError: one of the indexes is not there; none was removed.
            And those of `set_values`.
        """
        unwanted = frozenset(indexes)

        def edit(record: Record) -> tuple[Value, ...]:
            return versions.without(record, unwanted)

        return self._edit(principal, identifier, edit, "remove", expected_version)

    def withdraw(
        self,
        principal: Principal,
        identifier: Identifier | str,
        *,
        reason: str,
        replaced_by: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Result:
        """Take a record out of use; it goes on resolving with its values, marked by a HZ_TOMBSTONE value.

        Raises:
            MalformedError: no reason, or a malformed replacement.
            And those of `set_values`.
        """
        return self._end(
            principal,
            identifier,
            Status.WITHDRAWN,
            reason=reason,
            replaced_by=tuple(replaced_by),
            expected_version=expected_version,
        )

    def delete(
        self,
        principal: Principal,
        identifier: Identifier | str,
        *,
        reason: str,
        replaced_by: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Result:
        """Delete a record; its tombstone answers for ever, its values stay in the audit trail.

        Raises:
            As `withdraw`; a withdrawn record may be deleted.
        """
        return self._end(
            principal,
            identifier,
            Status.DELETED,
            reason=reason,
            replaced_by=tuple(replaced_by),
            expected_version=expected_version,
        )

    def list_page(self, principal: Principal, prefix: Prefix, page: int, page_size: int) -> Page:
        """Return one numbered page (0-based), as the Handle API asks for it.

        Raises:
            As `list`.
        """
        return self._finder.list_page(principal, prefix, page, page_size)

    def count(self, principal: Principal, prefix: Prefix) -> int:
        """Count the identifiers of a prefix that are not deleted.

        Raises:
            As `list`.
        """
        return self._finder.count(principal, prefix)

    def search(
        self,
        principal: Principal,
        patterns: Mapping[str, str],
        *,
        prefix: Prefix | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Find identifiers by value: all patterns (globs, ASCII case ignored) must match a value the asker may see.

        Raises:
            As `list`; MalformedError for no pattern or too long ones; LimitError when a type is not indexed and the
            prefix is too large to look through.
        """
        return self._finder.search(principal, patterns, prefix=prefix, after=after, limit=limit)

    def history(
        self, principal: Principal, identifier: Identifier, *, after: int = 0, limit: int = 100
    ) -> list[AuditEntry]:
        """Return who changed the record, when, before and after; oldest first.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not read the audit trail of the prefix.
        """
        return self._finder.history(principal, identifier, after=after, limit=limit)

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return records, whole and unfiltered, in the order asked: for rooms that apply visibility themselves."""
        with self._store.read() as unit:
            found = unit.get(identifiers)
        if len(found) == 1 and len(identifiers) == 1:
            return list(found.values())
        return [found.get(identifier.key) for identifier in identifiers]

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """Return changes after a position, oldest first."""
        with self._store.read() as unit:
            return unit.changes(after, limit)

    def last_change(self) -> int:
        """Return the newest position."""
        with self._store.read() as unit:
            return unit.last_change()

    def put_copy(self, record: Record) -> None:
        """Keep a record that somebody else signed, exactly as it is; the caller has verified it.

        Raises:
            ConflictError: a newer version is kept already.
        """
        self.put_copies([record])

    def put_copies(self, records: Sequence[Record]) -> None:
        """Keep many such records in one transaction.

        Raises:
            ConflictError: a newer version of one of them is kept already; none was stored.
        """
        with self._store.write() as unit:
            unit.lock()
            present = unit.get([r.identifier for r in records])
            writes = []
            for record in records:
                before = present.get(record.identifier.key)
                if before is not None and before.version >= record.version:
                    if before == record:
                        continue
                    raise ConflictError(
                        "registry.record.copy_old",
                        identifier=record.identifier.text,
                        version=record.version,
                        kept=before.version,
                    )
                issuer = record.signature.issuer if record.signature else "?"
                writes.append(self._kept(record, before, f"300:0.NA/{issuer}", "copy"))
            unit.write(writes)

    def resign(self, prefix: Prefix) -> int:
        """Sign every record that the key of a homed prefix vouches for again, with the key in use now.

        Each becomes a new version; `0.NA/<child>` records and those of prefixes below without a key of their own are
        among them. Safe to repeat after a crash: records already signed with that key are left alone.

        Returns:
            how many were signed.

        Raises:
            NotResponsibleError, ForbiddenError: the prefix is not homed here, or may not sign now.
        """
        _, home = self._signers.signer_for(prefix)
        with self._store.read() as unit:
            places = unit.prefixes()
        return sum(
            self._resign(place, home)
            for place in places
            if place == _DELEGATIONS or self._signers.home_of(place) == home
        )

    def _resign(self, place: Prefix, home: Prefix) -> int:
        after: str | None = None
        done = 0
        while True:
            signer, issuer = self._signers.signer_for(home)
            with self._store.write() as unit:
                unit.lock()
                batch = unit.every(place, after=after, limit=_RESIGN_PAGE)
                writes = []
                for record in batch:
                    kid = record.signature.kid if record.signature else None
                    if kid == signer.kid or self._signers.home_of(record.identifier.authority) != home:
                        continue
                    at = max(self._now(), record.modified)
                    fresh = replace(record, version=record.version + 1, modified=at)
                    signed = sign_record(fresh, signer, issuer)
                    writes.append(self._kept(signed, record, f"300:0.NA/{issuer}", "resign"))
                unit.write(writes)
            done += len(writes)
            if len(batch) < _RESIGN_PAGE:
                return done
            after = batch[-1].identifier.suffix_key

    def _check(self, principal: Principal, draft: Draft) -> versions.Checked:
        identifier = Identifier.parse_new(draft.identifier, field="identifier")
        self._admit(principal, identifier)
        check_values(draft.values)
        return self._fitted(draft, identifier)

    def _fitted(self, draft: Draft, identifier: Identifier) -> versions.Checked:
        """Return the values of a draft as they would be stored, by its template."""
        kind, values = self._templates.apply(draft, identifier)
        if not values:
            raise InvalidValueError("registry.record.empty", field="values", identifier=identifier.text)
        check_values(values)
        return versions.Checked(identifier, kind, aligned(values))

    def _check_all(
        self, principal: Principal, drafts: Sequence[Draft]
    ) -> list[versions.Checked | HazlinkError]:
        checked: list[versions.Checked | HazlinkError] = []
        seen: set[str] = set()
        for draft in drafts:
            try:
                item = self._check(principal, draft)
            except HazlinkError as error:
                checked.append(error)
                continue
            if item.identifier.key in seen:
                checked.append(
                    MalformedError(
                        "registry.record.duplicate", field="identifier", identifier=draft.identifier
                    )
                )
                continue
            seen.add(item.identifier.key)
            checked.append(item)
        return checked

    def _admit(self, principal: Principal, identifier: Identifier) -> None:
        """Refuse who may not write; delegations are written by those who delegate, not by every editor."""
        if not principal.is_anonymous and self._signers.home_of(identifier.authority) is None:
            # says that the prefix is not homed here: a mistyped one is a likelier mistake than a missing role
            self._signers.signer_for(identifier.authority)
        delegating = identifier.named_prefix is not None
        principal.require(
            Operation.PREFIX_DELEGATE if delegating else Operation.RECORD_WRITE,
            owner_of(self._signers, identifier),
        )
        self._signers.signer_for(identifier.authority)

    def _edit(
        self,
        principal: Principal,
        identifier: Identifier | str,
        edit: _Edit,
        action: str,
        expected_version: int | None,
    ) -> Result:
        named = _read(identifier)
        self._admit(principal, named)
        with self._store.write() as unit:
            unit.lock()
            before = _active(named, unit)
            versions.expect(named, before, expected_version)
            draft = Draft(identifier=before.identifier.text, kind=before.kind, values=edit(before))
            fitted = self._fitted(draft, before.identifier)
            made = None
            if not versions.same(before.values, fitted.values):
                made = versions.next_version(
                    before.identifier, fitted.kind, fitted.values, before, now=self._now(), salts=self._salts
                )
                unit.write([self._write(made, before, principal, action)])
        return versions.result(named.text, before, made)

    def _end(
        self,
        principal: Principal,
        identifier: Identifier | str,
        status: Status,
        *,
        reason: str,
        replaced_by: tuple[str, ...],
        expected_version: int | None,
    ) -> Result:
        named = _read(identifier)
        self._admit(principal, named)
        reason = reason.strip()
        heirs = tuple(Identifier.parse(heir, field="replaced_by").text for heir in replaced_by)
        with self._store.write() as unit:
            unit.lock()
            before = _present(named, unit)
            versions.expect(named, before, expected_version)
            if before.status is Status.WITHDRAWN and status is Status.WITHDRAWN:
                versions.ended_again(before, reason, heirs)
                return versions.result(named.text, before, None)
            made = versions.ended(
                before, status, reason=reason, heirs=heirs, now=self._now(), salts=self._salts
            )
            unit.write([self._write(made, before, principal, _ENDING[status])])
        return versions.result(named.text, before, made)

    def _decided(
        self, checked: versions.Checked, before: Record | None, if_present: IfPresent
    ) -> Record | None:
        return versions.decide(checked, before, if_present, now=self._now(), salts=self._salts)

    def _now(self) -> int:
        return int(self._clock.now())

    def _write(self, made: Record, before: Record | None, principal: Principal, action: str) -> Write:
        signer, issuer = self._signers.signer_for(made.identifier.authority)
        signed = sign_record(made, signer, issuer)
        return self._kept(signed, before, principal.name, action)

    def _kept(self, made: Record, before: Record | None, who: str, action: str) -> Write:
        stale = self._finder.rows_of(before) if before else frozenset()
        return Write(made, before, who, action, self._finder.rows_of(made), stale)

    def list(
        self, principal: Principal, prefix: Prefix, *, after: str | None = None, limit: int = 100
    ) -> Page:
        """Return identifiers of a prefix by match key; stable while others write.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not list the prefix.
            LimitError: `limit` outside 1 … 1,000.
        """
        return self._finder.list(principal, prefix, after=after, limit=limit)


def _read(identifier: Identifier | str) -> Identifier:
    return Identifier.parse(identifier, field="identifier") if isinstance(identifier, str) else identifier


def _present(identifier: Identifier, unit: RecordUnit) -> Record:
    """Return what stands there and is not deleted."""
    found = unit.get([identifier]).get(identifier.key)
    if found is None:
        raise NotFoundError("registry.record.unknown", field="identifier", identifier=identifier.text)
    if found.status is Status.DELETED:
        raise versions.gone(found)
    return found


def _active(identifier: Identifier, unit: RecordUnit) -> Record:
    found = _present(identifier, unit)
    if found.status is Status.WITHDRAWN:
        raise versions.gone(found)
    return found

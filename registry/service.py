"""The registry: register, change, withdraw, find, look back.

Rules:

- who may write is decided first, then the syntax, then the template, then what stands there;
- the same content from the same owner is success and changes nothing; other content needs `REPLACE`;
- a withdrawn record takes no change but deletion; a deleted one answers with its tombstone until the owner registers
  the identifier again, which continues its versions;
- each version is signed, and stored with its search, change and audit rows in one transaction, or not at all;
- a value keeps its timestamp and salt while its content stays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from registry.clock import Clock
from registry.errors import (
    ConflictError,
    ExistsError,
    GoneError,
    HazlinkError,
    LimitError,
    MalformedError,
    NotFoundError,
    ValueExistsError,
    ValueNotFoundError,
)
from registry.finding import Finder
from registry.identifier import Identifier, Prefix
from registry.ports import Signers, Templates
from registry.principal import Operation, Principal
from registry.record import Draft, Record, Status, Tombstone
from registry.results import AuditEntry, Change, Done, IfPresent, Page, Result, SetMode
from registry.storage.engine import Database
from registry.storage.records import RecordStore, RecordUnit, Write
from registry.trust.record_signature import SALT_BYTES, sign_record
from registry.value import TOMBSTONE_INDEX, Value

__all__ = ["MAX_BATCH", "Registry"]

MAX_BATCH = 2_000
_MAX_VALUES = 2_048
_MAX_DATA_BYTES = 65_536
_MAX_REASON = 500
_MAX_REPLACEMENTS = 20
_TOMBSTONE_TYPE = "HZ_TOMBSTONE"
_RESIGN_PAGE = 500

#: What the audit trail calls the two ways to end.
_ENDING = {Status.WITHDRAWN: "withdraw", Status.DELETED: "delete"}

#: Makes the new values of a record from what stands there.
_Edit = Callable[[Record], tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A draft that may be written and fits its template."""

    identifier: Identifier
    kind: str
    values: tuple[Value, ...]


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
        self._finder = Finder(store=self._store, templates=templates)

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
            _expect(checked.identifier, before, expected_version)
            made = self._decide(checked, before, if_present)
            if made is not None:
                unit.write([self._write(made, before, principal, "replace" if before else "register")])
        return _result(draft.identifier, before, made)

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
            present = unit.get([c.identifier for c in checked if isinstance(c, _Checked)])
            for draft, item in zip(drafts, checked, strict=True):
                if isinstance(item, HazlinkError):
                    results.append(Result(draft.identifier, Done.REFUSED, error=item))
                    continue
                before = present.get(item.identifier.key)
                try:
                    made = self._decide(item, before, if_present)
                except HazlinkError as error:
                    results.append(Result(draft.identifier, Done.REFUSED, error=error))
                    continue
                if made is not None and not dry_run:
                    writes.append(self._write(made, before, principal, "replace" if before else "register"))
                results.append(_result(draft.identifier, before, made))
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
        given = tuple(values)

        def edit(record: Record) -> tuple[Value, ...]:
            made = {v.index: v for v in self._templates.values_of(record.kind, fields or {})}
            made |= {v.index: v for v in given}
            # a field that is set is set whole: of a repeated one no old value stays behind
            kept = {v.index: v for v in record.values if v.type not in (fields or {}) or mode is not SetMode.PUT}
            for index in made:
                if mode is SetMode.ADD and index in kept:
                    raise ValueExistsError(
                        "registry.record.index_taken",
                        field=f"values[{index}]",
                        index=index,
                        identifier=record.identifier.text,
                    )
                if mode is SetMode.MODIFY and index not in kept:
                    raise _no_value(record, index)
            return tuple((kept | made)[index] for index in sorted(kept | made))

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
            for index in sorted(unwanted):
                if record.value(index) is None:
                    raise _no_value(record, index)
            return tuple(v for v in record.values if v.index not in unwanted)

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
        """Sign every record of a prefix again, as a new version, with the key in use now; return how many.

        Safe to repeat after a crash: records already signed with that key are left alone.
        """
        signer, issuer = self._signers.signer_for(prefix)
        after: str | None = None
        done = 0
        while True:
            with self._store.write() as unit:
                unit.lock()
                batch = unit.every(prefix, after=after, limit=_RESIGN_PAGE)
                old = [r for r in batch if r.signature is None or r.signature.kid != signer.kid]
                writes = []
                for record in old:
                    fresh = replace(record, version=record.version + 1, modified=self._instant(record))
                    signed = sign_record(fresh, signer, issuer)
                    writes.append(self._kept(signed, record, f"300:0.NA/{issuer}", "resign"))
                unit.write(writes)
            done += len(writes)
            if len(batch) < _RESIGN_PAGE:
                return done
            after = batch[-1].identifier.suffix_key

    def _check(self, principal: Principal, draft: Draft) -> _Checked:
        identifier = Identifier.parse_new(draft.identifier, field="identifier")
        self._admit(principal, identifier)
        _check_sizes(draft.values)
        kind, values = self._templates.apply(draft, identifier)
        return _Checked(identifier, kind, values)

    def _check_all(self, principal: Principal, drafts: Sequence[Draft]) -> list[_Checked | HazlinkError]:
        checked: list[_Checked | HazlinkError] = []
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
        delegating = identifier.named_prefix is not None
        principal.require(
            Operation.PREFIX_DELEGATE if delegating else Operation.RECORD_WRITE, identifier.authority
        )
        self._signers.signer_for(identifier.authority)

    def _decide(self, checked: _Checked, before: Record | None, if_present: IfPresent) -> Record | None:
        """Return the new version, unsigned; None when what stands there is the same.

        Raises:
            ExistsError, GoneError: what stands there may not be replaced.
        """
        identifier = checked.identifier
        if before is None:
            return self._version(identifier, checked.kind, checked.values, None)
        if before.status is Status.DELETED:
            return self._version(identifier, checked.kind, checked.values, before)
        if before.status is Status.WITHDRAWN:
            raise _gone(before, "withdrawn")
        if before.kind == checked.kind and _same(before.values, checked.values):
            return None
        if if_present is IfPresent.CONFIRM:
            raise ExistsError(
                "registry.record.exists",
                field="identifier",
                identifier=before.identifier.text,
                version=before.version,
            )
        # the registered spelling stays
        return self._version(before.identifier, checked.kind, checked.values, before)

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
            _expect(named, before, expected_version)
            values = edit(before)
            _check_sizes(values)
            kind, checked = self._templates.apply(
                Draft(identifier=before.identifier.text, kind=before.kind, values=values), before.identifier
            )
            made = None
            if not _same(before.values, checked):
                made = self._version(before.identifier, kind, checked, before)
                unit.write([self._write(made, before, principal, action)])
        return _result(named.text, before, made)

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
        if not 0 < len(reason) <= _MAX_REASON:
            raise MalformedError("registry.record.reason", field="reason", limit=_MAX_REASON)
        if len(replaced_by) > _MAX_REPLACEMENTS:
            raise LimitError(
                "registry.record.replacements",
                field="replaced_by",
                count=len(replaced_by),
                limit=_MAX_REPLACEMENTS,
            )
        heirs = tuple(Identifier.parse(heir, field="replaced_by").text for heir in replaced_by)
        with self._store.write() as unit:
            unit.lock()
            before = _present(named, unit)
            _expect(named, before, expected_version)
            if before.status is Status.WITHDRAWN and status is Status.WITHDRAWN:
                return _ended_again(named, before, reason, heirs)
            at = self._instant(before)
            stone = Tombstone(status.name.lower(), f"0.NA/{named.authority}", reason, at, heirs)
            value = Value(TOMBSTONE_INDEX, _TOMBSTONE_TYPE, stone.to_data())
            kept = () if status is Status.DELETED else before.values
            values = tuple(
                sorted([*(v for v in kept if v.index != TOMBSTONE_INDEX), value], key=lambda v: v.index)
            )
            made = self._version(before.identifier, before.kind, values, before, status=status)
            unit.write([self._write(made, before, principal, _ENDING[status])])
        return _result(named.text, before, made)

    def _version(
        self,
        identifier: Identifier,
        kind: str,
        values: Sequence[Value],
        before: Record | None,
        *,
        status: Status = Status.ACTIVE,
    ) -> Record:
        """Return the next version of a record, its values stamped and salted, not yet signed."""
        at = self._instant(before)
        kept = {v.index: v for v in before.values} if before else {}
        stamped = []
        for value in values:
            old = kept.get(value.index)
            if old is not None and old.same_content(value):
                stamped.append(old)
                continue
            salt = b"" if value.visibility.is_public else self._salts(SALT_BYTES)
            stamped.append(replace(value, timestamp=at, salt=salt))
        return Record(
            identifier=identifier,
            kind=kind,
            version=before.version + 1 if before else 1,
            status=status,
            values=tuple(stamped),
            modified=at,
        )

    def _instant(self, before: Record | None) -> int:
        """Return the time of a new version: never before the old one, whatever the clock did."""
        now = int(self._clock.now())
        return max(now, before.modified) if before else now

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
        raise _gone(found, "deleted")
    return found


def _active(identifier: Identifier, unit: RecordUnit) -> Record:
    found = _present(identifier, unit)
    if found.status is Status.WITHDRAWN:
        raise _gone(found, "withdrawn")
    return found


def _gone(record: Record, name: str) -> GoneError:
    stone = record.tombstone
    return GoneError(
        f"registry.record.{name}",
        field="identifier",
        identifier=record.identifier.text,
        reason=stone.reason if stone else "?",
    )


def _expect(identifier: Identifier, before: Record | None, expected: int | None) -> None:
    version = before.version if before else 0
    if expected is not None and expected != version:
        raise ConflictError(
            "registry.record.version",
            field="expected_version",
            identifier=identifier.text,
            version=version,
            expected=expected,
        )


def _same(before: Sequence[Value], after: Sequence[Value]) -> bool:
    return len(before) == len(after) and all(b.same_content(a) for b, a in zip(before, after, strict=True))


def _check_sizes(values: Sequence[Value]) -> None:
    if len(values) > _MAX_VALUES:
        raise LimitError("registry.record.values", field="values", count=len(values), limit=_MAX_VALUES)
    for position, value in enumerate(values):
        if len(value.data) > _MAX_DATA_BYTES:
            raise LimitError(
                "registry.record.value_size",
                field=f"values[{position}].data",
                size=len(value.data),
                limit=_MAX_DATA_BYTES,
            )
        if value.index == TOMBSTONE_INDEX or value.type == _TOMBSTONE_TYPE:
            raise MalformedError(
                "registry.record.index_reserved", field=f"values[{position}].index", index=TOMBSTONE_INDEX
            )


def _no_value(record: Record, index: int) -> ValueNotFoundError:
    return ValueNotFoundError(
        "registry.record.index_missing",
        field=f"values[{index}]",
        identifier=record.identifier.text,
        index=index,
    )


def _result(given: str, before: Record | None, made: Record | None) -> Result:
    if made is None:
        return Result(given, Done.UNCHANGED, before.version if before else 0)
    created = before is None or before.status is Status.DELETED
    return Result(given, Done.CREATED if created else Done.CHANGED, made.version)


def _ended_again(identifier: Identifier, before: Record, reason: str, heirs: tuple[str, ...]) -> Result:
    """Withdrawing twice for the same reason is success; for another it is refused, the first stands."""
    stone = before.tombstone
    if stone is not None and (stone.reason, stone.replaced_by) == (reason, heirs):
        return Result(identifier.text, Done.UNCHANGED, before.version)
    raise _gone(before, "withdrawn")

"""Listing, searching and looking back; every answer holds only what the asker may see."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from registry.errors import HazlinkError, LimitError, MalformedError
from registry.globs import Glob
from registry.identifier import Identifier, Prefix, fold
from registry.ports import Signers, Templates
from registry.principal import Operation, Principal, visible
from registry.record import Record, Status
from registry.results import AuditEntry, Page
from registry.storage.audit import AuditRow
from registry.storage.records import RecordStore, RecordUnit
from registry.storage.search import SEARCH_LENGTH, Candidate
from registry.value import TEMPLATE_INDEX, Value

__all__ = ["Finder", "owner_of"]

_MAX_PAGE = 1_000
_MAX_OFFSET = 1_000_000_000
_MAX_PATTERNS = 8
_MAX_PATTERN = 255
#: Records of a prefix that a search may look through when no pattern is on an indexed type.
_MAX_SCAN = 20_000
#: Candidates one search looks at; after that it says where to go on.
_MAX_LOOKED = 20_000
_SCAN_PAGE = 500
_SYSTEM_TYPES = ("HS_", "HZ_")

#: Patterns by folded type; one type may have several.
_Globs = Sequence[tuple[str, Glob]]


def owner_of(signers: Signers, identifier: Identifier) -> Prefix:
    """Return the prefix at which roles count for an identifier: the homed one that its record belongs to.

    A node keeps a copy of its own `0.NA/<prefix>`; there it is that prefix.
    """
    home = signers.home_of(identifier.authority)
    if home is None and identifier.named_prefix is not None:
        home = signers.home_of(identifier.named_prefix)
    return home or identifier.authority


class Finder:
    """Reads records for people and systems that look for them."""

    def __init__(self, *, store: RecordStore, signers: Signers, templates: Templates) -> None:
        self._store = store
        self._signers = signers
        self._templates = templates

    def rows_of(self, record: Record) -> frozenset[tuple[str, str]]:
        """Return the folded `(type, value)` pairs by which a record is found; none for a deleted one."""
        if record.status is Status.DELETED:
            return frozenset()
        indexed = self._templates.indexed(record.kind)
        rows = []
        for value in record.values:
            kind = fold(value.type)
            free = "*" in indexed or value.index < TEMPLATE_INDEX
            if kind in indexed or (free and not kind.startswith(_SYSTEM_TYPES)):
                rows.append((kind, fold(_text(value))[:SEARCH_LENGTH]))
        return frozenset(rows)

    def list_page(self, principal: Principal, prefix: Prefix, page: int, page_size: int) -> Page:
        """Return one numbered page; see `Registry.list_page`."""
        _check_page(page_size)
        if not 0 <= page * page_size <= _MAX_OFFSET:
            raise LimitError("registry.record.page_number", field="page", value=page, limit=_MAX_OFFSET)
        self._require_list(principal, prefix)
        with self._store.read() as unit:
            found = unit.list(prefix, after=None, limit=page_size + 1, offset=page * page_size)
        return _page(found, page_size)

    def count(self, principal: Principal, prefix: Prefix) -> int:
        """Count the identifiers of a prefix."""
        self._require_list(principal, prefix)
        with self._store.read() as unit:
            return unit.count(prefix)

    def search(
        self,
        principal: Principal,
        patterns: Mapping[str, str],
        *,
        prefix: Prefix | None,
        after: str | None,
        limit: int,
    ) -> Page:
        """Find by value; see `Registry.search`. Without a prefix: in all that the principal may list."""
        _check_page(limit)
        globs = _globs(patterns)
        begin = _place(after) if after else None
        if prefix is not None:
            self._require_list(principal, prefix)
        else:
            principal.require(Operation.RECORD_LIST)
        found: list[Identifier] = []
        looked = 0
        with self._store.read() as unit:
            for name, matches in self._candidates(unit, principal, globs, prefix, begin):
                looked += 1
                if matches and len(found) == limit:
                    return Page(tuple(found), found[-1].key)
                if matches:
                    found.append(name)
                elif looked >= _MAX_LOOKED:
                    return Page(tuple(found), name.key)
        return Page(tuple(found))

    def history(
        self, principal: Principal, identifier: Identifier, *, after: int, limit: int
    ) -> list[AuditEntry]:
        """Return the audit trail; what stood there after a change is what stood there before the next one."""
        _check_page(limit)
        principal.require(Operation.AUDIT_READ, owner_of(self._signers, identifier))
        with self._store.read() as unit:
            rows = unit.trail(identifier, after=after, limit=limit + 1)
            live = unit.get([identifier]).get(identifier.key)
        following: Sequence[AuditRow | None] = [*rows, None]
        entries = [
            AuditEntry(
                position=row.position,
                at=row.at,
                who=row.who,
                action=row.action,
                identifier=live.identifier if live else identifier,
                before=row.before,
                after=heir.before if heir else live,
            )
            for row, heir in pairwise(following)
            if row is not None
        ]
        return entries[:limit]

    def list(self, principal: Principal, prefix: Prefix, *, after: str | None, limit: int) -> Page:
        """Return one page of a prefix; see `Registry.list`."""
        _check_page(limit)
        if after is not None:
            _check_token(after)
        self._require_list(principal, prefix)
        with self._store.read() as unit:
            found = unit.list(prefix, after=after, limit=limit + 1)
        return _page(found, limit)

    def _require_list(self, principal: Principal, prefix: Prefix) -> None:
        principal.require(Operation.RECORD_LIST, self._home(prefix))

    def _home(self, prefix: Prefix) -> Prefix:
        return self._signers.home_of(prefix) or prefix

    def _candidates(
        self,
        unit: RecordUnit,
        principal: Principal,
        globs: _Globs,
        prefix: Prefix | None,
        begin: Identifier | None,
    ) -> Iterator[tuple[Identifier, bool]]:
        """Yield what may match after `begin`, by match key, and whether it does."""
        for place in [prefix] if prefix is not None else unit.prefixes():
            home = self._home(place)
            passed = begin is not None and place < begin.prefix
            if passed or not principal.may(Operation.RECORD_LIST, home):
                continue
            after = begin.suffix_key if begin is not None and place == begin.prefix else None
            for name, record in self._looked_at(unit, globs, place, after):
                yield (
                    record.identifier if record else name,
                    record is not None and _matches(visible(record.values, principal, home), globs),
                )

    def _looked_at(
        self, unit: RecordUnit, globs: _Globs, prefix: Prefix, after: str | None
    ) -> Iterator[tuple[Identifier, Record | None]]:
        candidate = self._candidate(globs)
        if candidate is None:
            _refuse_large(unit, prefix, globs)
        while True:
            if candidate is not None:
                suffixes = unit.find(prefix, candidate, after=after, limit=_SCAN_PAGE)
                names = [Identifier(f"{prefix}/{s}", prefix, s) for s in suffixes]
            else:
                names = unit.list(prefix, after=after, limit=_SCAN_PAGE)
            records = unit.get(names) if names else {}
            for name in names:
                yield name, records.get(name.key)
            if len(names) < _SCAN_PAGE:
                return
            after = names[-1].suffix_key

    def _candidate(self, globs: _Globs) -> Candidate | None:
        """Return the pattern that narrows most among those on types of which every value is in the search table."""
        usable = [
            Candidate(kind, glob)
            for kind, glob in globs
            if not kind.startswith(_SYSTEM_TYPES) and self._templates.searchable(kind)
        ]
        return max(usable, key=lambda c: (len(c.glob.literal), len(c.glob.like)), default=None)


def _refuse_large(unit: RecordUnit, prefix: Prefix, globs: _Globs) -> None:
    if unit.list(prefix, after=None, limit=1, offset=_MAX_SCAN):
        kinds = ", ".join(kind for kind, _ in globs)
        raise LimitError(
            "registry.record.scan", field="patterns", type=kinds, prefix=prefix.key, limit=_MAX_SCAN
        )


def _page(found: list[Identifier], limit: int) -> Page:
    more = len(found) > limit
    return Page(tuple(found[:limit]), found[limit - 1].suffix_key if more else None)


def _check_page(limit: int) -> None:
    if not 1 <= limit <= _MAX_PAGE:
        raise LimitError("registry.record.page", field="limit", value=limit, limit=_MAX_PAGE)


def _check_token(after: str) -> None:
    if not _is_storable(after):
        raise MalformedError("registry.record.page_token", field="after")


def _place(after: str) -> Identifier:
    try:
        return Identifier.parse(after)
    except HazlinkError as error:
        raise MalformedError("registry.record.page_token", field="after") from error


def _globs(patterns: Mapping[str, str]) -> _Globs:
    if not 1 <= len(patterns) <= _MAX_PATTERNS:
        raise MalformedError("registry.record.patterns", field="patterns", limit=_MAX_PATTERNS)
    for kind, pattern in patterns.items():
        if max(len(kind), len(pattern)) > _MAX_PATTERN:
            raise MalformedError(
                "registry.record.pattern_long",
                field=kind[:_MAX_PATTERN],
                size=len(pattern),
                limit=_MAX_PATTERN,
            )
        if not (_is_storable(kind) and _is_storable(pattern)):
            raise MalformedError("registry.record.pattern_text", field="patterns")
    return [(fold(kind), Glob(pattern)) for kind, pattern in patterns.items()]


def _is_storable(text: str) -> bool:
    """Say whether a database can compare with this text: PostgreSQL takes neither NUL nor lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _matches(values: Iterable[Value], globs: _Globs) -> bool:
    wanted = {kind for kind, _ in globs}
    texts: dict[str, list[str]] = {}
    for value in values:
        kind = fold(value.type)
        if kind in wanted:
            texts.setdefault(kind, []).append(fold(_text(value)))
    return all(any(glob.matches(text) for text in texts.get(kind, ())) for kind, glob in globs)


def _text(value: Value) -> str:
    """Return what a value is searched by; bytes that are no text (PostgreSQL keeps no NUL) only by their type."""
    text = value.text or ""
    return "" if "\0" in text else text

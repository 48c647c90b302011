"""Listing, searching and looking back; every answer holds only what the asker may see."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from registry.errors import LimitError, MalformedError
from registry.identifier import Identifier, Prefix, fold
from registry.ports import Templates
from registry.principal import Operation, Principal, visible
from registry.record import Record, Status
from registry.results import AuditEntry, Page
from registry.storage.records import SEARCH_LENGTH, AuditRow, Candidate, RecordStore, RecordUnit
from registry.value import TEMPLATE_INDEX, Value

__all__ = ["Finder"]

_MAX_PAGE = 1_000
_MAX_PATTERNS = 8
_MAX_PATTERN = 255
#: Records of a prefix that a search may look through when no pattern is on an indexed type.
_MAX_SCAN = 20_000
_SCAN_PAGE = 500


class Finder:
    """Reads records for people and systems that look for them."""

    def __init__(self, *, store: RecordStore, templates: Templates) -> None:
        self._store = store
        self._templates = templates

    def rows_of(self, record: Record) -> frozenset[tuple[str, str]]:
        """Return the `(type, folded value)` pairs by which a record is found; none for a deleted one."""
        if record.status is Status.DELETED:
            return frozenset()
        indexed = self._templates.indexed(record.kind)
        return frozenset(
            (value.type, fold(_text(value))[:SEARCH_LENGTH])
            for value in record.values
            if value.type in indexed
            or (
                ("*" in indexed or value.index < TEMPLATE_INDEX) and not value.type.startswith(("HS_", "HZ_"))
            )
        )

    def list_page(self, principal: Principal, prefix: Prefix, page: int, page_size: int) -> Page:
        """Return one numbered page; see `Registry.list_page`."""
        _check_page(page_size)
        principal.require(Operation.RECORD_LIST, prefix)
        with self._store.read() as unit:
            found = unit.list(prefix, after=None, limit=page_size + 1, offset=page * page_size)
        return _page(found, page_size)

    def count(self, principal: Principal, prefix: Prefix) -> int:
        """Count the identifiers of a prefix."""
        principal.require(Operation.RECORD_LIST, prefix)
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
        _check_patterns(patterns)
        if prefix is not None or principal.is_anonymous:
            principal.require(Operation.RECORD_LIST, prefix)
        prefixes = (
            [prefix]
            if prefix is not None
            else sorted(
                Prefix(key) for key in principal.prefixes if principal.may(Operation.RECORD_LIST, Prefix(key))
            )
        )
        found: list[Identifier] = []
        start = Identifier.parse(after) if after else None
        with self._store.read() as unit:
            for place in prefixes:
                if start is not None and place < start.prefix:
                    continue
                begin = start.suffix_key if start is not None and place == start.prefix else None
                found += self._search(
                    unit, principal, patterns, place, after=begin, limit=limit + 1 - len(found)
                )
                if len(found) > limit:
                    break
        more = len(found) > limit
        return Page(tuple(found[:limit]), found[limit - 1].key if more else None)

    def history(
        self, principal: Principal, identifier: Identifier, *, after: int, limit: int
    ) -> list[AuditEntry]:
        """Return the audit trail; what stood there after a change is what stood there before the next one."""
        _check_page(limit)
        principal.require(Operation.AUDIT_READ, identifier.authority)
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

    def _search(
        self,
        unit: RecordUnit,
        principal: Principal,
        patterns: Mapping[str, str],
        prefix: Prefix,
        *,
        after: str | None,
        limit: int,
    ) -> list[Identifier]:
        matchers = {kind: _matcher(pattern) for kind, pattern in patterns.items()}
        candidate = self._candidate(patterns)
        if candidate is None:
            self._refuse_large(unit, prefix, patterns)
        found: list[Identifier] = []
        while len(found) < limit:
            if candidate is not None:
                suffixes = unit.find(prefix, candidate, after=after, limit=_SCAN_PAGE)
                names = [Identifier(f"{prefix}/{s}", prefix, s) for s in suffixes]
            else:
                names = unit.list(prefix, after=after, limit=_SCAN_PAGE)
            records = unit.get(names) if names else {}
            for name in names:
                record = records.get(name.key)
                if record is not None and _matches(visible(record.values, principal, prefix), matchers):
                    found.append(record.identifier)
            if len(names) < _SCAN_PAGE:
                break
            after = names[-1].suffix_key
        return found[:limit]

    def _candidate(self, patterns: Mapping[str, str]) -> Candidate | None:
        """Return the pattern that narrows most among those on types of which every value is in the search table."""
        usable = [
            Candidate(kind, _like(pattern), re.split(r"[*?]", fold(pattern), maxsplit=1)[0])
            for kind, pattern in patterns.items()
            if not kind.startswith(("HS_", "HZ_")) and self._templates.searchable(kind)
        ]
        return max(usable, key=lambda c: (len(c.literal), len(c.like)), default=None)

    def _refuse_large(self, unit: RecordUnit, prefix: Prefix, patterns: Mapping[str, str]) -> None:
        beyond = unit.list(prefix, after=None, limit=1, offset=_MAX_SCAN)
        if beyond:
            raise LimitError(
                "registry.record.scan", type=", ".join(patterns), prefix=prefix.key, limit=_MAX_SCAN
            )

    def list(self, principal: Principal, prefix: Prefix, *, after: str | None, limit: int) -> Page:
        """Return one page of a prefix; see `Registry.list`."""
        _check_page(limit)
        principal.require(Operation.RECORD_LIST, prefix)
        with self._store.read() as unit:
            found = unit.list(prefix, after=after, limit=limit + 1)
        return _page(found, limit)


def _page(found: list[Identifier], limit: int) -> Page:
    more = len(found) > limit
    return Page(tuple(found[:limit]), found[limit - 1].suffix_key if more else None)


def _check_page(limit: int) -> None:
    if not 1 <= limit <= _MAX_PAGE:
        raise LimitError("registry.record.page", field="limit", value=limit, limit=_MAX_PAGE)


def _check_patterns(patterns: Mapping[str, str]) -> None:
    if not 1 <= len(patterns) <= _MAX_PATTERNS:
        raise MalformedError("registry.record.patterns", field="patterns", limit=_MAX_PATTERNS)
    for kind, pattern in patterns.items():
        if len(pattern) > _MAX_PATTERN:
            raise MalformedError(
                "registry.record.pattern_long", field=kind, size=len(pattern), limit=_MAX_PATTERN
            )


def _matches(values: Iterable[Value], matchers: Mapping[str, re.Pattern[str]]) -> bool:
    texts: dict[str, list[str]] = {}
    for value in values:
        if value.type in matchers:
            texts.setdefault(value.type, []).append(fold(_text(value)))
    return all(
        any(matcher.fullmatch(text) for text in texts.get(kind, ())) for kind, matcher in matchers.items()
    )


def _text(value: Value) -> str:
    """Return what a value is searched by; bytes that are no text (PostgreSQL keeps no NUL) only by their type."""
    text = value.text or ""
    return "" if "\0" in text else text


def _matcher(pattern: str) -> re.Pattern[str]:
    # runs of stars say what one says, and would only make matching slow
    parts = re.split(r"(\*+|\?)", fold(pattern))
    made = "".join(".*" if p.startswith("*") else "." if p == "?" else re.escape(p) for p in parts)
    return re.compile(made, re.DOTALL)


def _like(pattern: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", fold(pattern))
    return re.sub(r"\*+", "%", escaped).replace("?", "_")

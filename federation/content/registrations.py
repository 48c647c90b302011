"""Registrations: the registry's change table becomes entries of the docking table T9, for every superior.

Rules:

- each change of a record of a homed prefix that has a superior goes up as the record's newest version; changes that
  were overtaken are not sent on their own, and what is sent twice is one version, which the receiver takes once;
- a prefix that begins to report is read from the beginning once, beside what changes meanwhile;
- an entry's version is the record's. After a restore the records of today may have lower versions than what was told
  of those of yesterday, so all of them are told again, and from then on the second of the restore stands before the
  record's version: `1790000000000007` is version 7. Likewise at a node to which a prefix was handed over;
- the cursor moves in the transaction that seals what was collected: nothing is lost, nothing is passed over;
- only values that the receiver may see are looked at (and every tier above it, where it passes the entry on): the
  owner's visibility comes before any sharing policy;
- with an hourly or daily rhythm the period fixes up to where is read, so that a period is one consistent piece.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from federation.content.dataset import Dataset, Entry, Operation, Rhythm
from federation.content.packing import Packer
from federation.content.policy import Policy, day_of, slot_of
from federation.content.ports import HomedPrefixes, reporting
from federation.content.storage.sending import Backfill, Cursor, SendingUnit
from federation.exchange.envelope import Draft
from registry.clock import Clock
from registry.delegation import Purpose
from registry.identifier import Prefix, fold
from registry.record import Record, Status
from registry.value import Scope, Value

__all__ = ["Registrations", "fields_of", "seen_by"]

_PAGE = 500
#: Changes looked at in one transaction: the lock it holds is everybody's.
_MAX_LOOKED = 4_000
_TEMPLATE_VERSION_INDEX = 1001
_MAX_TEXT = 2_048
#: Record versions of one second; a record with more of them runs into the next, and does no harm there.
_VERSIONS = 1_000_000
#: Records about prefixes are no registrations; tables T6 and T7 tell of them.
_DELEGATIONS = "0.NA"

_Places: TypeAlias = Mapping[str, tuple[Prefix, Prefix]]
#: Match keys of prefix and suffix.
_Key: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _Round:
    """One collection: the transaction, what is filled, who reports to whom, how far each was read."""

    unit: SendingUnit
    packer: Packer
    places: _Places
    fills: dict[str, Backfill]


class Registrations:
    """Source of registrations; implements `federation.exchange.sealing.Source`.

    Args:
        homes: the prefixes this node speaks for.
        dataset: the table's declaration.
        policy: what is shared with whom, and how soon.
        clock: the time.
    """

    def __init__(self, *, homes: HomedPrefixes, dataset: Dataset, policy: Policy, clock: Clock) -> None:
        self._homes = homes
        self._dataset = dataset
        self._policy = policy
        self._clock = clock

    @property
    def stream(self) -> str:
        """The stream its drafts are for."""
        return self._dataset.stream

    def collect(self, connection: Any, limit: int) -> Sequence[Draft]:
        """Return the next drafts, at most `limit`."""
        places = reporting(self._homes)
        if not places or limit < 1:
            return []
        unit = SendingUnit(connection)
        restored = unit.begin_again()
        packer = Packer(dataset=self._dataset, policy=self._policy, limit=limit)
        round_ = _Round(unit, packer, places, unit.backfills())
        for owner in places.keys() - round_.fills.keys():
            since = int(self._clock.now()) if owner in self._handed_over() else restored
            round_.fills[owner] = Backfill(since=since)
            unit.put_backfill(owner, round_.fills[owner])
        if self._follow(round_):
            for owner, fill in sorted(round_.fills.items()):
                if not fill.done and owner in places and not self._fill(round_, owner):
                    break
        return packer.drafts()

    def _handed_over(self) -> set[str]:
        """Return the prefixes that another node told of before: whether it was ever restored is not known here."""
        return {
            home.prefix.key
            for home in self._homes.all()
            if home.superior is not None and home.superior.purpose is Purpose.HANDOVER
        }

    def _follow(self, round_: "_Round") -> bool:
        """Go through the change table; say whether there is room left."""
        known = round_.unit.cursor(self._dataset.name)
        cursor = self._due(round_.unit, known)
        looked, room = 0, True
        while room and cursor.position < cursor.until and looked < _MAX_LOOKED:
            page = round_.unit.changes(cursor.position, cursor.until, _PAGE)
            looked += len(page)
            reached, room = self._page(round_, page, cursor.position)
            if room and len(page) < _PAGE:
                reached = cursor.until
            cursor = replace(cursor, position=reached)
        if cursor != known:
            round_.unit.put_cursor(self._dataset.name, cursor)
        return room and looked < _MAX_LOOKED

    def _due(self, unit: SendingUnit, known: Cursor | None) -> Cursor:
        rhythm = self._policy.rhythm(self._dataset)
        slot = 0 if rhythm is Rhythm.REAL_TIME else slot_of(rhythm, self._clock.now())
        if known is None:
            # what stood there before is read record by record
            last = unit.last_change()
            return Cursor(last, last, slot)
        if known.position < known.until or (rhythm is not Rhythm.REAL_TIME and known.slot == slot):
            return known
        last = unit.last_change()
        return known if last == known.until and slot == known.slot else replace(known, until=last, slot=slot)

    def _page(
        self, round_: "_Round", page: Sequence[tuple[int, str, str, int]], reached: int
    ) -> tuple[int, bool]:
        """Offer what a page of changes is about; return how far that went, and whether there is room left."""
        wanted: dict[_Key, tuple[Prefix, Prefix]] = {}
        first: dict[_Key, int] = {}
        for _, prefix, suffix, version in page:
            place = self._place(round_, prefix)
            if place is not None:
                wanted[prefix, suffix] = place
                first.setdefault((prefix, suffix), version)
        entries = self._entries(round_, round_.unit.records(wanted), wanted, first)
        for position, prefix, suffix, _ in page:
            entry = entries.pop((prefix, suffix), None)
            if entry is not None and not round_.packer.offer(*wanted[prefix, suffix], entry):
                return reached, False
            reached = position
        return reached, True

    def _place(self, round_: "_Round", prefix: str) -> tuple[Prefix, Prefix] | None:
        if prefix == _DELEGATIONS:
            return None
        home = self._homes.home_of(Prefix(prefix))
        if home is None or home.key in round_.places:
            return round_.places[home.key] if home is not None else None
        known = round_.fills.get(home.key)
        if known is not None and known.done:
            # it reported once and cannot now: it is read again when it can
            round_.fills[home.key] = Backfill(since=known.since)
            round_.unit.put_backfill(home.key, round_.fills[home.key])
        return None

    def _fill(self, round_: "_Round", owner: str) -> bool:
        """Read the records of a prefix that began to report; say whether there is room left."""
        home, receiver = round_.places[owner]
        fill = round_.fills[owner]
        since, prefix, suffix = fill.since, fill.prefix, fill.suffix
        page = round_.unit.records_after(home, prefix, suffix, _PAGE)
        mine = {
            _key(record): record for record in page if self._homes.home_of(record.identifier.prefix) == home
        }
        entries = self._entries(round_, mine, dict.fromkeys(mine, (home, receiver)), {})
        for record in page:
            entry = entries.get(_key(record))
            if entry is not None and not round_.packer.offer(home, receiver, entry):
                round_.unit.put_backfill(owner, Backfill(prefix, suffix, since=since))
                return False
            prefix, suffix = _key(record)
        done = len(page) < _PAGE
        round_.unit.put_backfill(owner, Backfill(prefix, suffix, done, since))
        return done

    def _entries(
        self,
        round_: "_Round",
        records: Mapping[_Key, Record],
        wanted: Mapping[_Key, tuple[Prefix, Prefix]],
        first: Mapping[_Key, int],
    ) -> dict[_Key, Entry]:
        older: dict[str, list[str]] = {}
        for (prefix, suffix), record in records.items():
            if record.version > 1:
                older.setdefault(prefix, []).append(suffix)
        created = {prefix: round_.unit.created(prefix, suffixes) for prefix, suffixes in older.items()}
        made = {}
        for place, record in records.items():
            began = created.get(place[0], {}).get(place[1], record.modified)
            entry = self._entry(record, wanted[place][1], began, first.get(place, record.version))
            since = round_.fills[wanted[place][0].key].since
            made[place] = replace(entry, version=since * _VERSIONS + record.version)
        return made

    def _entry(self, record: Record, receiver: Prefix, created: int, first: int) -> Entry:
        operation = Operation.ADD if first == 1 else Operation.MODIFY
        if record.status is Status.DELETED:
            operation = Operation.DELETE
        number = record.value(_TEMPLATE_VERSION_INDEX)
        version = number.text if number else None
        content: dict[str, Any] = {
            "identifier": record.identifier.text,
            "created": day_of(created),
            "metadata": f"{record.kind}/{version}" if version else record.kind,
            "status": record.status.name.lower(),
        }
        odd: tuple[str, ...] = ()
        if record.status is not Status.DELETED:
            seen = seen_by(record.values, receiver, passed_on=self._dataset.relay)
            content, odd = self._dataset.fitting(content | fields_of(self._dataset, seen))
        return Entry(record.version, operation, record.modified, content, odd)


def _key(record: Record) -> _Key:
    return record.identifier.prefix.key, record.identifier.suffix_key


def seen_by(values: Sequence[Value], receiver: Prefix, *, passed_on: bool) -> list[Value]:
    """Return the values a superior may see; `passed_on`: and every tier above it."""
    needed = {one.key for one in (receiver.ancestors() if passed_on else (receiver,))}
    return [
        value
        for value in values
        if value.visibility.scope <= Scope.FEDERATION
        or (value.visibility.scope is Scope.PREFIXES and needed <= set(value.visibility.prefixes))
    ]


def fields_of(dataset: Dataset, values: Sequence[Value]) -> dict[str, Any]:
    """Return the fields of a dataset that record values give."""
    texts: dict[str, str] = {}
    for value in values:
        text = value.text
        if text:
            texts.setdefault(fold(value.type), text[:_MAX_TEXT])
    made: dict[str, Any] = {}
    for field in dataset.fields.values():
        text = next((texts[fold(type_)] for type_ in field.types if fold(type_) in texts), None)
        if text is not None:
            made[field.name] = [text] if field.many else text
    return made

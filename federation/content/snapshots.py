"""Datasets that are told as they stand: at each look what changed since the last one goes up.

Rules:

- what a dataset holds for a homed prefix is put together anew at each look and compared, by digest, with what was
  sent; new, changed and vanished entries become entries with a higher version;
- with an hourly, daily or monthly rhythm there is one look in each period; in real time one every few seconds, and
  only when something it depends on may have changed;
- what was entered by hand stands over what is derived, field by field;
- a look that found no room for all of it is taken up again with the rest;
- after a restore everything is told again, as something newer: what was told since the backup is not known any more.
  Only the figures of the day before are left as they were told: those of a restored database are short.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import orjson

from federation.content.dataset import Dataset, Entry, Operation, Rhythm
from federation.content.packing import Packer
from federation.content.policy import Policy, slot_of
from federation.content.ports import HomedPrefixes, reporting
from federation.content.storage.sending import Cursor, SendingUnit
from federation.exchange.envelope import Draft
from registry.clock import Clock
from registry.identifier import Prefix

__all__ = ["NOTHING", "Rows", "Snapshots"]

#: Between two looks in real time.
_LOOK_SECONDS = 10
#: How long after the end of a period its look is: what was counted in its last seconds must have been written.
_GRACE_SECONDS = 120
#: Prefixes looked at in one transaction: the lock it holds is everybody's.
_MAX_LOOKS = 50


class Rows(Protocol):
    """Puts together what a dataset holds for a homed prefix.

    Consistency: it reads through the connection it is given. Concurrency: one thread at a time. Errors: HazlinkError;
    the look is repeated.
    """

    def __call__(
        self, connection: Any, owner: Prefix, receiver: Prefix, now: float
    ) -> Iterable[dict[str, Any]]:
        """Return the content of each entry: what `receiver` might see of it, before any sharing rule."""
        ...


def NOTHING(connection: Any, owner: Prefix, receiver: Prefix, now: float) -> Iterable[dict[str, Any]]:  # noqa: N802 — a constant that is called
    """Return no entry: for datasets that only people fill."""
    del connection, owner, receiver, now
    return ()


class Snapshots:
    """Source of one such dataset; implements `federation.exchange.sealing.Source`.

    Args:
        homes: the prefixes this node speaks for.
        dataset: the declaration.
        policy: what is shared with whom, and how soon.
        clock: the time.
        rows: puts the entries together.
        keeps: entries that are no longer put together stay as they are: figures of days that are over.
    """

    def __init__(
        self,
        *,
        homes: HomedPrefixes,
        dataset: Dataset,
        policy: Policy,
        clock: Clock,
        rows: Rows,
        keeps: bool = False,
    ) -> None:
        self._homes = homes
        self._dataset = dataset
        self._policy = policy
        self._clock = clock
        self._rows = rows
        self._keeps = keeps
        self._looked: dict[str, int] = {}

    @property
    def stream(self) -> str:
        """The stream its drafts are for."""
        return self._dataset.stream

    def collect(self, connection: Any, limit: int) -> Sequence[Draft]:
        """Return the next drafts, at most `limit`."""
        now = self._clock.now()
        rhythm = self._policy.rhythm(self._dataset)
        slot = (
            int(now // _LOOK_SECONDS) if rhythm is Rhythm.REAL_TIME else slot_of(rhythm, now - _GRACE_SECONDS)
        )
        due = {
            owner: place for owner, place in reporting(self._homes).items() if self._looked.get(owner) != slot
        }
        if not due or limit < 1:
            return []
        unit = SendingUnit(connection)
        restored = unit.begin_again()
        if self._keeps and restored and slot == slot_of(rhythm, restored - _GRACE_SECONDS):
            self._looked |= dict.fromkeys(due, slot)
            return []
        packer = Packer(dataset=self._dataset, policy=self._policy, limit=limit)
        for owner, (prefix, receiver) in islice(due.items(), _MAX_LOOKS):
            if rhythm is not Rhythm.REAL_TIME:
                cursor = unit.cursor(self._dataset.name, owner)
                if cursor is not None and cursor.slot == slot:
                    self._looked[owner] = slot
                    continue
            if not self._look(unit, connection, packer, prefix, receiver):
                break
            if rhythm is not Rhythm.REAL_TIME:
                # remembered in memory at the next look: this transaction may yet fail
                unit.put_cursor(self._dataset.name, Cursor(slot=slot), owner)
            elif not packer.drafts():
                self._looked[owner] = slot
        return packer.drafts()

    def _look(
        self, unit: SendingUnit, connection: Any, packer: Packer, owner: Prefix, receiver: Prefix
    ) -> bool:
        """Offer what changed; say whether there was room for all of it."""
        now = self._clock.now()
        present = self._present(unit, connection, owner, receiver, now)
        known = unit.sent(self._dataset.name, owner.key)
        told: list[tuple[str, int, bytes, bool]] = []
        room = True

        def after(version: int) -> int:
            # never below the present second: newer than whatever was told before an older backup was restored
            return max(version + 1, int(now))

        for key, content in present.items():
            digest = _digest(content)
            version, before, gone = known.get(key, (0, None, True))
            if before == digest and not gone:
                continue
            operation = Operation.ADD if gone else Operation.MODIFY
            room = packer.offer(owner, receiver, Entry(after(version), operation, int(now), content))
            if not room:
                break
            told.append((key, after(version), digest, False))
        if room and not self._keeps:
            for key, (version, before, gone) in known.items():
                if key in present or (gone and before is not None):
                    continue
                entry = Entry(after(version), Operation.DELETE, int(now), {self._dataset.key: key})
                room = packer.offer(owner, receiver, entry)
                if not room:
                    break
                told.append((key, after(version), before or _digest({}), True))
        unit.put_sent(self._dataset.name, owner.key, told)
        return room

    def _present(
        self, unit: SendingUnit, connection: Any, owner: Prefix, receiver: Prefix, now: float
    ) -> dict[str, dict[str, Any]]:
        """Return the entries as they stand now, by key."""
        name = self._dataset.name
        found = {
            self._dataset.key_of(content): content for content in self._rows(connection, owner, receiver, now)
        }
        for key, content, _, _ in unit.own(name, owner.key):
            found[key] = {**found.get(key, {}), **content}
        made = {}
        for key, content in sorted(found.items()):
            fitting, _ = self._dataset.fitting(content)
            if _whole(self._dataset, fitting):
                made[key] = fitting
        return made


def _whole(dataset: Dataset, content: Mapping[str, Any]) -> bool:
    return all(field.name in content for field in dataset.fields.values() if field.required)


def _digest(content: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(orjson.dumps(dict(content), option=orjson.OPT_SORT_KEYS)).digest()

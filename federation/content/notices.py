"""Alarms and incidents: written to the outbox in the transaction of whoever noticed, and sent before anything else.

An alarm tells the state of one alarm of a prefix; a later state is a later version. Until the node's journal exists
its content is this node's own definition. An incident is a fault of the node itself, and later its recovery, which
names the fault (the docking guide's monitoring: classes 1 network, 2 system, 3 attack, 4 other).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from federation.content.dataset import Dataset, Datasets, Entry, Operation
from federation.content.packing import Packer
from federation.content.policy import Policy
from federation.content.ports import HomedPrefixes, Post, reporting
from federation.content.storage.sending import SendingUnit
from registry.clock import Clock
from registry.errors import ConflictError, NotFoundError, NotResponsibleError
from registry.identifier import Identifier, Prefix
from registry.storage.engine import Database

__all__ = ["Alarm", "FaultClass", "Notices"]

_ID_BYTES = 12


class FaultClass(IntEnum):
    """What sort of fault an incident is."""

    NETWORK = 1
    SYSTEM = 2
    ATTACK = 3
    OTHER = 4


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm in one state.

    Attributes:
        id: the same for every state of one alarm; unique at its prefix.
        subject: identifier of what it is about.
        state: `raised`, `acknowledged`, `escalated`, `cleared` or `closed`.
        grade: 1 (highest) … 4.
        at: POSIX seconds.
        more: `model`, `text`, `value`, `limit`, `evidence`, where there are any.
    """

    id: str
    subject: str
    state: str
    grade: int
    at: int
    more: Mapping[str, Any]


class Notices:
    """Sends alarms and incidents.

    Consistency: a notice is stored with the business transaction it is part of, or not at all. Durability: kept when
    that commits. Concurrency: any number of threads and processes. Errors: as said at each method.
    """

    def __init__(
        self,
        *,
        database: Database,
        post: Post,
        homes: HomedPrefixes,
        datasets: Datasets,
        policy: Policy,
        clock: Clock,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._post = post
        self._homes = homes
        self._alarms = datasets.newest("alarm")
        self._incidents = datasets.newest("incidents")
        self._policy = policy
        self._clock = clock
        self._entropy = entropy

    def alarm(self, connection: Any, alarm: Alarm) -> int:
        """Store an alarm for the superior, inside the caller's transaction; return its version.

        Raises:
            MalformedIdentifierError, InvalidValueError: the alarm is not one.
            NotResponsibleError: its subject's prefix reports to nobody here.
        """
        subject = Identifier.parse(alarm.subject, field="subject")
        home = self._homes.home_of(subject.authority)
        content = {
            "id": alarm.id,
            "subject": subject.text,
            "state": alarm.state,
            "grade": alarm.grade,
            "at": alarm.at,
            **alarm.more,
        }
        return self._send(connection, self._alarms, home or subject.authority, alarm.id, content)

    def send_alarm(self, alarm: Alarm) -> int:
        """Store an alarm in a transaction of its own; as `alarm`."""
        with self._database.write() as connection:
            return self.alarm(connection, alarm)

    def fault(self, prefix: Prefix, *, cause: str, kind: FaultClass = FaultClass.OTHER) -> str:
        """Tell the superior of a fault; return its number.

        Raises:
            InvalidValueError: no cause, or too long a one.
            NotResponsibleError: the prefix reports to nobody here.
        """
        number = self._entropy(_ID_BYTES).hex()
        with self._database.write() as connection:
            self._incident(connection, prefix, number, "fault", number, cause, int(kind))
            SendingUnit(connection).put_fault(prefix.key, number, int(kind))
        return number

    def recovered(self, prefix: Prefix, fault: str, *, cause: str) -> str:
        """Tell the superior that a fault is over; return the number of the recovery.

        Raises:
            NotFoundError: no such fault was told.
            ConflictError: its recovery was told already.
            InvalidValueError, NotResponsibleError: as `fault`.
        """
        number = self._entropy(_ID_BYTES).hex()
        with self._database.write() as connection:
            unit = SendingUnit(connection)
            kind = unit.open_fault(prefix.key, fault)
            if kind is None:
                raise NotFoundError("federation.content.fault_unknown", field="fault", fault=fault[:64])
            if not kind:
                raise ConflictError("federation.content.fault_over", field="fault", fault=fault[:64])
            unit.put_fault(prefix.key, fault, 0)
            self._incident(connection, prefix, number, "recovery", fault, cause, kind)
        return number

    def _incident(  # noqa: PLR0917 — one row of the guide's table, in its order
        self, connection: Any, prefix: Prefix, number: str, kind: str, fault: str, cause: str, class_: int
    ) -> None:
        content = {
            "id": number,
            "prefix": prefix.key,
            "kind": kind,
            "fault": fault,
            "at": int(self._clock.now()),
            "cause": cause,
            "class": class_,
        }
        self._send(connection, self._incidents, prefix, number, content)

    def _send(
        self, connection: Any, dataset: Dataset, home: Prefix, key: str, content: Mapping[str, Any]
    ) -> int:
        place = reporting(self._homes).get(home.key)
        if place is None:
            raise NotResponsibleError("federation.content.not_reporting", field="prefix", prefix=home.key)
        dataset.check_own(content)
        unit = SendingUnit(connection)
        now = int(self._clock.now())
        version, first = unit.next_version(dataset.name, home.key, key, now)
        entry = Entry(version, Operation.ADD if first else Operation.MODIFY, now, content)
        packer = Packer(dataset=dataset, policy=self._policy, limit=1)
        packer.offer(*place, entry)
        for draft in packer.drafts():
            self._post.append(connection, draft)
        return version

"""What people enter by hand for the docking tables: licences, places, applications, whatever no record holds.

An entry stands under a homed prefix and is about that prefix or one below it. It goes up at the dataset's next look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from federation.content.dataset import Dataset, Datasets
from federation.content.ports import HomedPrefixes, reporting
from federation.content.storage.sending import SendingUnit
from registry.clock import Clock
from registry.errors import InvalidValueError, NotFoundError, NotResponsibleError
from registry.identifier import Prefix
from registry.principal import Operation, Principal
from registry.storage.engine import Database

__all__ = ["BY_HAND", "OwnEntries", "OwnEntry"]

#: Datasets whose entries, or some of whose fields, people enter.
BY_HAND = frozenset({"t1", "t2", "t4", "t5", "t6", "t7", "t10", "t11"})


@dataclass(frozen=True, slots=True)
class OwnEntry:
    """One entry as somebody entered it."""

    key: str
    content: Mapping[str, Any]
    at: int
    who: str


class OwnEntries:
    """Keeps what people entered.

    Consistency: a call sees every write committed before it began. Durability: as `Database`. Concurrency: any number
    of threads and processes. Errors: as said at each method.
    """

    def __init__(self, *, database: Database, datasets: Datasets, homes: HomedPrefixes, clock: Clock) -> None:
        self._database = database
        self._datasets = datasets
        self._homes = homes
        self._clock = clock

    def put(self, principal: Principal, dataset: str, owner: Prefix, content: Mapping[str, Any]) -> OwnEntry:
        """Store an entry, in place of one with the same key; fields that are derived may be left out.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not write at the prefix.
            NotFoundError: there is no such dataset.
            NotResponsibleError: the prefix reports to nobody here.
            InvalidValueError: the dataset is not filled by hand, the content breaks its schema, or it is about
                somebody else.
        """
        principal.require(Operation.RECORD_WRITE, owner)
        declared = self._declared(dataset)
        if owner.key not in reporting(self._homes):
            raise NotResponsibleError("federation.content.not_reporting", field="prefix", prefix=owner.key)
        if declared.key not in content:
            raise InvalidValueError(
                "federation.content.schema",
                field=declared.key,
                schema=declared.schema,
                reason=f"{declared.key}: —",
            )
        declared.check_shown(content, "content")
        if "prefix" in content:
            about = Prefix.parse(str(content["prefix"]), field="prefix")
            if not owner.contains(about):
                raise InvalidValueError(
                    "federation.content.own_other", field="prefix", value=about.key, prefix=owner.key
                )
        key, at = declared.key_of(content), int(self._clock.now())
        with self._database.write() as connection:
            SendingUnit(connection).put_own(dataset, owner.key, key, content, at=at, who=principal.name)
        return OwnEntry(key, dict(content), at, principal.name)

    def remove(self, principal: Principal, dataset: str, owner: Prefix, key: str) -> None:
        """Take an entry back.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not write at the prefix.
            NotFoundError: there is no such dataset or entry.
        """
        principal.require(Operation.RECORD_WRITE, owner)
        self._declared(dataset)
        with self._database.write() as connection:
            if "\0" in key or not SendingUnit(connection).drop_own(dataset, owner.key, key):
                raise NotFoundError(
                    "federation.content.own_unknown", field="key", dataset=dataset, key=key[:128]
                )

    def entries(self, principal: Principal, dataset: str, owner: Prefix) -> list[OwnEntry]:
        """Return what was entered for a prefix.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not list what is at the prefix.
            NotFoundError: there is no such dataset.
        """
        principal.require(Operation.RECORD_LIST, owner)
        self._declared(dataset)
        with self._database.read() as connection:
            return [OwnEntry(*row) for row in SendingUnit(connection).own(dataset, owner.key)]

    def _declared(self, dataset: str) -> Dataset:
        declared = self._datasets.newest(dataset)
        if dataset not in BY_HAND:
            raise InvalidValueError("federation.content.own_dataset", field="dataset", dataset=dataset)
        return declared

"""What arrives from others: one handler for each dataset, and the list an operator sees.

The newest version of each entry is kept, with the hash of the envelope that is the evidence for it. What comes late
or twice changes nothing. An entry belongs to who signed it, whoever relayed it: nobody can change another's.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from federation.content.dataset import Dataset, Datasets, Entry
from federation.content.storage.receiving import ReceivedEntry, ReceivedUnit
from federation.exchange.handlers import Delivery, Handler
from registry.errors import LimitError
from registry.identifier import Prefix
from registry.principal import Operation, Principal
from registry.storage.engine import Database

__all__ = ["EntriesHandler", "Received", "handlers"]

_MAX_PAGE = 1_000

#: Told in the accepting transaction about what was taken: the connection, the dataset, the delivery, the entries.
Listener = Callable[[Any, Dataset, Delivery, Sequence[Entry]], None]


class EntriesHandler:
    """Takes in the entries of one version of a dataset; implements `federation.exchange.handlers.Handler`."""

    def __init__(self, dataset: Dataset, listeners: Iterable[Listener] = ()) -> None:
        self._dataset = dataset
        self._listeners = tuple(listeners)

    @property
    def type(self) -> str:
        """The event name it is for."""
        return self._dataset.type

    @property
    def stream(self) -> str:
        """The one stream it comes on."""
        return self._dataset.stream

    @property
    def schemas(self) -> frozenset[str]:
        """The schema it understands."""
        return frozenset({self._dataset.schema})

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return nothing: identifiers stand in members that are looked at anyway."""
        del body
        return ()

    def check(self, body: Any) -> None:
        """Refuse a body that breaks the schema.

        Raises:
            MalformedError, LimitError, InvalidValueError: it does.
        """
        self._dataset.read(body)

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Keep the entries, inside the accepting transaction."""
        entries = self._dataset.read(delivery.body)
        ReceivedUnit(connection).take(
            self._dataset,
            entries,
            receiver=delivery.receiver,
            owner=delivery.origin,
            env=delivery.envelope.env,
            via=(prefix.key for prefix in delivery.via),
            received_at=delivery.received_at,
        )
        for listener in self._listeners:
            listener(connection, self._dataset, delivery, entries)


def handlers(datasets: Datasets, listeners: Iterable[Listener] = ()) -> list[Handler]:
    """Return the handlers of every version of every dataset."""
    kept = tuple(listeners)
    return [EntriesHandler(dataset, kept) for dataset in datasets]


class Received:
    """What arrived, for the people of the receiving prefix."""

    def __init__(self, *, database: Database, datasets: Datasets) -> None:
        self._database = database
        self._datasets = datasets

    def overview(self, principal: Principal, receiver: Prefix) -> dict[str, int]:
        """Return how many entries of each dataset arrived at a prefix.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not list what is at the prefix.
        """
        principal.require(Operation.RECORD_LIST, receiver)
        with self._database.read() as connection:
            return ReceivedUnit(connection).counts(receiver)

    def entries(
        self,
        principal: Principal,
        dataset: str,
        receiver: Prefix,
        *,
        owner: Prefix | None = None,
        after: tuple[str, str] = ("", ""),
        limit: int = 100,
        gone: bool = False,
    ) -> list[ReceivedEntry]:
        """Return entries that arrived at a prefix, by owner and key.

        Args:
            principal: who asks.
            dataset: its name.
            receiver: the homed prefix they were sent to.
            owner: only those of this prefix.
            after: owner and key of the last one seen.
            limit: 1 … 1,000.
            gone: deleted ones too.

        Raises:
            UnauthenticatedError, ForbiddenError: the principal may not list what is at the prefix.
            NotFoundError: there is no such dataset.
            LimitError: `limit` is out of range.
        """
        principal.require(Operation.RECORD_LIST, receiver)
        self._datasets.newest(dataset)
        if not 1 <= limit <= _MAX_PAGE:
            raise LimitError("federation.content.page", field="limit", value=limit, limit=_MAX_PAGE)
        with self._database.read() as connection:
            return ReceivedUnit(connection).entries(
                dataset, receiver, owner=owner, after=after, limit=limit, gone=gone
            )

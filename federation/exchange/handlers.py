"""What is done with an envelope that was accepted: one handler for each type, registered by the composition root.

Rules:

- a handler is asked only for a schema it names; everything else is kept as it came and applied after an upgrade;
- `check` sees the body alone and decides nothing by what is stored: the same body is right or wrong for ever;
- `apply` runs inside the transaction that accepts the envelope, so the effect and the receipt exist together or
  not at all. What it refuses is rolled back to where it began and becomes a final, signed `business` rejection;
- an envelope is applied once: the inbox knows its hash. A relayed one as well, whoever brings it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from federation.exchange.envelope import Envelope
from registry.errors import InternalError
from registry.identifier import Prefix
from registry.trust.chain import VerifiedChain

__all__ = ["Arrived", "Delivery", "Handler", "Handlers"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came over the wire: for a relayed envelope the outermost one.

    Attributes:
        envelope: as received.
        chain: vouches for its sender.
        data: the bytes of its body, where that went beside it.
    """

    envelope: Envelope
    chain: VerifiedChain
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One envelope on its way into a handler.

    Attributes:
        envelope: the envelope the handler is for; of a relayed one the inner, original envelope.
        origin: who signed it first, and answers for its content.
        via: who relayed it, nearest to the origin first; empty when it came straight from its origin.
        chain: vouches for `origin`.
        received_at: POSIX seconds, as the receipt says.
        body: the JSON content; for a detached body of another media type its bytes.
        receiver: the prefix homed here that took it; for a relayed envelope not the `aud` of `envelope`.
        arrived: what came over the wire, for who passes it on; None when it was applied long after.
    """

    envelope: Envelope
    origin: Prefix
    via: tuple[Prefix, ...]
    chain: VerifiedChain
    received_at: int
    body: Any
    receiver: Prefix
    arrived: Arrived | None = None


class Handler(Protocol):
    """What is done with one type of envelope.

    Consistency: `apply` sees and changes the database only through the connection it is given. Durability: its
    effect commits together with the receipt. Concurrency: any number of threads; deliveries of one lane come one
    after another, in order. Errors: as said at each method; anything else than a HazlinkError is a mistake of ours:
    the envelope is accepted, kept, and counted as not applied.
    """

    @property
    def type(self) -> str:
        """The event name it is for."""
        ...

    @property
    def stream(self) -> str:
        """The one stream it comes on; on another it is refused."""
        ...

    @property
    def schemas(self) -> frozenset[str]:
        """The schema identifiers, with version, that it understands."""
        ...

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return identifiers the body speaks for beyond those the shared rule finds; usually none."""
        ...

    def check(self, body: Any) -> None:
        """Refuse a body that breaks its schema.

        Raises:
            MalformedError, InvalidValueError, LimitError: it does; the envelope is rejected as `bad_schema`.
        """
        ...

    def apply(self, connection: Any, delivery: Delivery) -> None:
        """Take the content in, inside the accepting transaction.

        Args:
            connection: the open transaction; never commit or roll it back.
            delivery: what came.

        Raises:
            HazlinkError: it cannot be, for good; the envelope is rejected as `business`.
            UnavailableError: it cannot be now; nothing of the batch is stored and the sender tries again.
        """
        ...


class Handlers:
    """The handlers of this node, by type and schema. Filled by the composition root, read from any thread."""

    def __init__(self, *handlers: Handler) -> None:
        self._by_schema: dict[tuple[str, str], Handler] = {}
        self._types: set[str] = set()
        for handler in handlers:
            self.register(handler)

    def register(self, handler: Handler) -> None:
        """Take a handler.

        Raises:
            InternalError: another one has its type and one of its schemas.
        """
        for schema in handler.schemas:
            if (handler.type, schema) in self._by_schema:
                raise InternalError(
                    "federation.exchange_receiving.handler_twice", type=handler.type, schema=schema
                )
        self._types.add(handler.type)
        self._by_schema.update({(handler.type, schema): handler for schema in handler.schemas})

    def find(self, type_: str, schema: str) -> Handler | None:
        """Return the handler that understands this schema of this type."""
        return self._by_schema.get((type_, schema))

    def known(self, type_: str) -> bool:
        """Say whether any schema of this type is understood."""
        return type_ in self._types

    def pairs(self) -> list[tuple[str, str]]:
        """Return every (type, schema) that is understood, sorted."""
        return sorted(self._by_schema)

    def understands(self) -> dict[str, list[str]]:
        """Return type → schemas, both sorted: what a peer is told."""
        told: dict[str, list[str]] = {}
        for type_, schema in sorted(self._by_schema):
            told.setdefault(type_, []).append(schema)
        return told

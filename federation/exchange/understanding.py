"""Who understands what: the types of envelopes and, for each, the versions of its schema.

Rules (facts on federation, (b)):

- nothing is refused for being new: an unknown type or schema is accepted, kept unapplied, and applied after an
  upgrade;
- peers tell one another what they understand, so that a sender may write the newest schema its receiver can apply.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from registry.errors import MalformedError
from registry.trust.claims import Claims

__all__ = ["MAX_SCHEMAS", "MAX_TYPES", "Rules", "Understanding", "Understands"]

MAX_TYPES = 512
MAX_SCHEMAS = 64


class Rules(Protocol):
    """What the checks ask of the handler of a type; see `handlers.Handler`, which is one.

    Consistency: the same body gets the same answer for ever. Durability: none. Concurrency: any number of threads.
    """

    @property
    def stream(self) -> str:
        """The one stream the type comes on."""
        ...

    def identifiers(self, body: Any) -> Iterable[str]:
        """Return identifiers the body speaks for beyond those the shared rule finds."""
        ...

    def check(self, body: Any) -> None:
        """Refuse a body that breaks its schema.

        Raises:
            MalformedError, InvalidValueError, LimitError: it does.
        """
        ...


class Understands(Protocol):
    """The types this node applies; see `handlers.Handlers`, which is one. Read from any thread."""

    def find(self, type_: str, schema: str, /) -> Rules | None:
        """Return the rules of this schema of this type, None when it is not understood."""
        ...

    def known(self, type_: str, /) -> bool:
        """Say whether any schema of this type is understood."""
        ...


class Understanding:
    """What a peer said it understands.

    Args:
        schemas: type → schema identifiers.
    """

    __slots__ = ("_schemas",)

    def __init__(self, schemas: Mapping[str, Iterable[str]]) -> None:
        self._schemas = {type_: frozenset(named) for type_, named in schemas.items()}

    @classmethod
    def read(cls, content: Any, *, at: str = "understands") -> "Understanding":
        """Read an announcement: an object, type → array of schemas.

        Raises:
            MalformedError: it is anything else, or beyond all measure.
        """
        claims = Claims(content, at=at)
        if len(claims.content) > MAX_TYPES:
            raise MalformedError("registry.trust.claim_type", field=at, right=f"object (0–{MAX_TYPES})")
        return cls({type_: claims.texts(type_, most=MAX_SCHEMAS) for type_ in claims.content})

    def claims(self) -> dict[str, list[str]]:
        """Return the announcement: type → schemas, both sorted."""
        return {type_: sorted(self._schemas[type_]) for type_ in sorted(self._schemas)}

    def knows(self, type_: str, schema: str) -> bool:
        """Say whether the peer applies this schema of this type at once."""
        return schema in self._schemas.get(type_, ())

    def choose(self, type_: str, offered: Sequence[str]) -> str:
        """Return the schema to write for this peer.

        Args:
            type_: event name.
            offered: schemas the sender can write, the newest first; at least one.

        Returns:
            The newest the peer knows; the newest of all when it knows none: it will keep it for its upgrade.
        """
        return next((schema for schema in offered if self.knows(type_, schema)), offered[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Understanding) and self._schemas == other._schemas

    def __hash__(self) -> int:
        return hash(frozenset(self._schemas.items()))

"""What this door needs of the node."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from registry.delegation import Home
from registry.identifier import Identifier, Prefix
from registry.principal import ANONYMOUS, Principal
from registry.record import Draft, Record
from registry.results import IfPresent, Page, Result, SetMode
from registry.template import TemplateCatalogue
from registry.value import Value
from resolver.answer import Answer, Query

__all__ = ["HandleNode", "HomeBook", "PrefixBook", "RecordBook", "Resolving"]


class Resolving(Protocol):
    """Resolution.

    Consistency: as fresh as the answer says. Durability: reads only. Concurrency: any number of tasks.
    Errors: none raised for what was asked; a failed answer carries its error.
    """

    async def resolve(self, query: Query, principal: Principal = ANONYMOUS) -> Answer:
        """Answer one question."""
        ...


class RecordBook(Protocol):
    """The registry, as far as this door writes, lists and searches.

    Consistency: a call sees every write committed before it began. Durability: a write has reached the disk when
    the call returns. Concurrency: any number of threads; calls block and belong into the pool. Errors: the
    vocabulary of `registry.errors`; NotResponsibleError for a prefix that is not homed here.
    """

    def register(
        self,
        principal: Principal,
        draft: Draft,
        *,
        if_present: IfPresent = IfPresent.CONFIRM,
        expected_version: int | None = None,
    ) -> Result:
        """Create or replace a whole record."""
        ...

    def set_values(
        self,
        principal: Principal,
        identifier: Identifier,
        *,
        values: Iterable[Value] = (),
        mode: SetMode = SetMode.PUT,
        expected_version: int | None = None,
    ) -> Result:
        """Add or replace single values."""
        ...

    def remove_values(
        self,
        principal: Principal,
        identifier: Identifier,
        indexes: Iterable[int],
        *,
        expected_version: int | None = None,
    ) -> Result:
        """Remove single values."""
        ...

    def delete(
        self,
        principal: Principal,
        identifier: Identifier,
        *,
        reason: str,
        replaced_by: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Result:
        """Leave a tombstone."""
        ...

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return records whole and unfiltered."""
        ...

    def count(self, principal: Principal, prefix: Prefix) -> int:
        """Count the identifiers of a prefix."""
        ...

    def list_page(self, principal: Principal, prefix: Prefix, page: int, page_size: int) -> Page:
        """Return one numbered page of the identifiers of a prefix."""
        ...

    def search(
        self,
        principal: Principal,
        patterns: Mapping[str, str],
        *,
        prefix: Prefix | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Return identifiers whose values match all patterns."""
        ...


class HomeBook(Protocol):
    """The picture of the homed prefixes in memory.

    Consistency: as of the last change made through this process, or the last tick of a timer. Durability: none.
    Concurrency: any number of threads. Errors: none.
    """

    def all(self) -> Sequence[Home]:
        """Return every homed or asked-for prefix."""
        ...

    def answers_for(self, prefix: Prefix) -> bool:
        """Say whether exactly this prefix is homed here."""
        ...


class PrefixBook(Protocol):
    """The prefixes this node homes.

    Consistency: a call sees every change committed before it began. Durability: hosting is on disk when the call
    returns. Concurrency: any number of threads. Errors: the vocabulary of `registry.errors`.
    """

    @property
    def homes(self) -> HomeBook:
        """The picture in memory."""
        ...

    def host(self, principal: Principal, prefix: Prefix) -> Home:
        """Home a prefix below one that this node homes already."""
        ...


class HandleNode(Protocol):
    """The attributes of the node that this door reads."""

    @property
    def resolver(self) -> Resolving:
        """Resolution."""
        ...

    @property
    def registry(self) -> RecordBook:
        """Records."""
        ...

    @property
    def prefixes(self) -> PrefixBook:
        """Prefixes."""
        ...

    @property
    def templates(self) -> TemplateCatalogue:
        """The templates of all kinds."""
        ...

    @property
    def executor(self) -> Executor:
        """The bounded pool in which the registry's blocking calls run."""
        ...

    @property
    def entropy(self) -> Callable[[int], bytes]:
        """Source of random bytes, for minted suffixes."""
        ...

    @property
    def site(self) -> Mapping[str, Any]:
        """How this node is reached, as the JSON of an HS_SITE value."""
        ...
